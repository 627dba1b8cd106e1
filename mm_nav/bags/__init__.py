"""Recordings: what is in them, read as the stack's nouns, and written. No ROS here."""
