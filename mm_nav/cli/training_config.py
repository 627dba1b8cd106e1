"""Training settings from a YAML file with the sections collect, dagger, train and policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mm_nav.config_file import read_yaml
from mm_nav.errors import ConfigError

SECTIONS = ("collect", "dagger", "train", "policy")


def read_sections(path: Path) -> dict[str, dict[str, Any]]:
    """Return the sections of a YAML file; one that it leaves out is empty.

    Raises ConfigError when the file is missing, is no YAML, or has a section that is unknown or holds no settings.
    """
    data = read_yaml(path, "config/train/tiny.yaml")
    unknown = sorted(set(map(str, data)) - set(SECTIONS))
    if unknown:
        raise ConfigError(f"{path}: section {', '.join(unknown)} is not known: use {', '.join(SECTIONS)}")
    sections = {name: data.get(name) or {} for name in SECTIONS}
    for name, values in sections.items():
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: section {name} must hold settings, got {type(values).__name__}")
    return sections
