"""From a path to wheel commands."""
