"""YAML files as dataclasses, with errors that name the file, the key and what is allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from mm_nav.errors import ConfigError

_Config = TypeVar("_Config")
_MAX_BYTES = 1_000_000


def absolute_name(name: str) -> str:
    """Return a YAML file's whole path, for who runs elsewhere; other names, such as a robot's, as they are."""
    return str(Path(name).expanduser().resolve()) if name.endswith((".yaml", ".yml")) else name


def read_yaml(path: Path, example: str = "config/robots/generic.yaml") -> dict[str, Any]:
    """Return the mapping a YAML file holds; {} for an empty one.

    Raises ConfigError, which points to `example`, when it cannot be read or holds something else.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{path}: more than {_MAX_BYTES} bytes: is this the right file?")
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise ConfigError(f"{path}: cannot be read as YAML ({reason}): compare it with {example}") from error
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: holds {type(data).__name__}, no mapping of names to values: compare it with {example}"
        )
    return data


def from_mapping(kind: type[_Config], values: Any, what: str) -> _Config:
    """Return a dataclass `kind` with the given values; lists become tuples, whole numbers floats where a float is due.

    Raises ConfigError that begins with `what` and names the key, for unknown keys and values of a wrong type or range.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{what} is not a mapping of names to values")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(str(key) for key in values if key not in known):
        raise ConfigError(f"{what}.{unknown[0]} is not known: settings are {', '.join(known)}")
    converted = {key: _converted(value, str(known[key].type), f"{what}.{key}") for key, value in values.items()}
    try:
        return kind(**converted)
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from error
    except TypeError as error:
        raise ConfigError(f"{what}: {error}: correct it") from error


def _converted(value: Any, annotation: str, what: str) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation == "float" and number:
        return float(value)
    if annotation == "int" and number and value == int(value):
        return int(value)
    if annotation in ("int", "bool", "str", "float"):
        if type(value).__name__ == annotation:
            return value
        raise ConfigError(f"{what} is {value!r}, expected {annotation}: correct it")
    if annotation.startswith("tuple[float") and isinstance(value, (list, tuple)):
        if not all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in value):
            raise ConfigError(f"{what} is {value!r}, expected a list of numbers: correct it")
        count = annotation.count("float")
        if "..." not in annotation and len(value) != count:
            raise ConfigError(f"{what} has {len(value)} numbers, expected {count}: correct it")
        return tuple(float(item) for item in value)
    return tuple(value) if isinstance(value, list) else value
