"""Training settings from a YAML file with the sections collect, train and policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mm_nav.errors import ConfigError

T = TypeVar("T")


SECTIONS = ("collect", "train", "policy")


def read_sections(path: Path) -> dict[str, dict[str, Any]]:
    """Return the sections of a YAML file; one that it leaves out is empty.

    Raises ConfigError when the file is missing, is no YAML, or has a section that is unknown or holds no settings.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read ({error.strerror}): give a file such as config/train/tiny.yaml"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML ({error}): compare it with config/train/tiny.yaml") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path} holds {type(data).__name__}: expected the sections collect, train and policy")
    unknown = sorted(set(map(str, data)) - set(SECTIONS))
    if unknown:
        raise ConfigError(f"{path}: section {', '.join(unknown)} is not known: use {', '.join(SECTIONS)}")
    sections = {name: data.get(name) or {} for name in SECTIONS}
    for name, values in sections.items():
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: section {name} must hold settings, got {type(values).__name__}")
    return sections


def settings(path: Path, name: str, values: Mapping[str, Any], kind: type[T]) -> T:
    """Return a section as its dataclass; what it leaves out has its default.

    Raises ConfigError for a setting that is unknown, of the wrong type or out of range.
    """
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(map(str, values)) - set(known))
    if unknown:
        raise ConfigError(f"{path}: {name}.{unknown[0]} is not known: settings are {', '.join(known)}")
    given: dict[str, Any] = {}
    for key, value in values.items():
        default = known[key].default
        if isinstance(default, bool) or not isinstance(default, (int, float, str)):
            given[key] = tuple(value) if isinstance(value, list) else value
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = isinstance(value, str) if isinstance(default, str) else number
        if not fits or (isinstance(default, int) and value != int(value)):
            raise ConfigError(
                f"{path}: {name}.{key} is {value!r}: expected {type(default).__name__}, such as {default!r}"
            )
        given[key] = type(default)(value)
    return kind(**given)
