"""Instructions: split into steps, taken apart into references, and embedded with a pretrained sentence encoder."""

from mm_nav.language.instruction import PICTURE_STEP, Step, parse_instruction
from mm_nav.language.reference import Reference, parse_reference

__all__ = ["PICTURE_STEP", "Reference", "Step", "parse_instruction", "parse_reference"]
