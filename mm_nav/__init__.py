"""mm_nav: multi-modal robot navigation, from camera, LiDAR and plain words to wheel commands."""

__version__ = "0.1.0"
