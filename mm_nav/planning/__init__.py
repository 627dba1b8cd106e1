"""Where to go next and along which way: global paths and exploration."""
