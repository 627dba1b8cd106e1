"""From sensor messages to synchronised Observations and network-ready arrays. No ROS here."""
