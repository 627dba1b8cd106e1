"""Instructions: split into steps, and embedded with a pretrained sentence encoder."""

from mm_nav.language.instruction import Step, parse_instruction

__all__ = ["Step", "parse_instruction"]
