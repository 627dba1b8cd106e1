"""The `mm-nav` command: one file per subcommand."""
