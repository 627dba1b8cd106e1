"""What the robot knows about the place: occupancy, what the camera has looked at, and where the target may be."""
