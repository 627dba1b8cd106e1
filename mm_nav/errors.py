"""Exceptions of mm_nav. Each message says what was wrong, what was expected and what to do."""

from __future__ import annotations


class MmNavError(Exception):
    """Base of every error that mm_nav raises on purpose."""


class ConfigError(MmNavError):
    """A configuration value is missing, unknown or outside its range."""


class ProviderError(ConfigError):
    """What ONNX Runtime could compute with does not work on this machine."""


class WorldError(MmNavError):
    """A world file cannot be loaded."""


class ModelError(MmNavError):
    """A network or its manifest is missing, broken or does not fit the stack."""


class GoalError(MmNavError):
    """A goal is empty, too long or contradicts itself."""


class SensorError(MmNavError):
    """A sensor message cannot be used (wrong encoding, wrong size, not finite)."""


class BagError(MmNavError):
    """A recording is missing, damaged or holds nothing that can be used."""
