"""ROS 2 nodes and what only they need. Thin: a node converts, calls, publishes. The only folder that imports rclpy."""
