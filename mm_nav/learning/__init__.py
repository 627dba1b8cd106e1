"""Learning: the privileged expert, data collection in generated worlds, DAgger, training and export."""
