"""Where a camera is relative to a LiDAR, from a recording of a board that both see."""
