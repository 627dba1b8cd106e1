"""Learning: data collection in generated worlds, DAgger, training and export."""
