"""Learning: the privileged expert, data collection in generated worlds, training and export."""

FIRST_HELD_OUT_SEED = 10_000
"""World seeds from here on are for evaluation and are never trained on."""
