"""Declared, described and range-checked parameters; what is unknown or out of range is refused with the allowed range."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, ParameterType
from rclpy.node import Node
from rclpy.parameter import Parameter

from mm_nav.errors import ConfigError
from mm_nav.robot import load_robot


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter. low, high: range of numbers, or None. choices: allowed strings, or empty. live: may change while active.
    check: what looks at a value more closely, and raises ConfigError where it cannot be used.
    """

    name: str
    default: bool | int | float | str
    text: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    check: Callable[[str], object] | None = None


ROBOT = ParameterSpec(
    "robot",
    "generic",
    "which robot it is: a name in config/robots, or a YAML file; its body and its limits count",
    check=load_robot,
)
_TYPES = {
    bool: ParameterType.PARAMETER_BOOL,
    int: ParameterType.PARAMETER_INTEGER,
    float: ParameterType.PARAMETER_DOUBLE,
    str: ParameterType.PARAMETER_STRING,
}
# Declared by rclpy itself.
_BUILT_IN = ("use_sim_time", "start_type_description_service")


def specs_of(config: Any, prefix: str = "") -> list[ParameterSpec]:
    """Return the specs of a config dataclass whose field metadata holds low, high and text."""
    return [
        ParameterSpec(
            prefix + item.name,
            getattr(config, item.name),
            item.metadata["text"],
            item.metadata["low"],
            item.metadata["high"],
        )
        for item in fields(config)
        if "low" in item.metadata
    ]


def declare(node: Node, specs: Iterable[ParameterSpec]) -> dict[str, ParameterSpec]:
    """Declare all parameters of a node; return them by name. Raises ConfigError for a value or a name that is not allowed."""
    table = {spec.name: spec for spec in specs}
    given = {name: parameter.value for name, parameter in node._parameter_overrides.items()}
    for name in sorted(given):
        if name not in table and name not in _BUILT_IN:
            raise ConfigError(f"{node.get_name()}: {unknown(name, table)}")
    for spec in table.values():
        value = given.get(spec.name, spec.default)
        if _is_whole_number(spec, value):
            value = float(value)
            node._parameter_overrides[spec.name] = Parameter(spec.name, value=value)
        reason = refusal(spec, value)
        if reason:
            raise ConfigError(f"{node.get_name()}: {reason}")
        node.declare_parameter(spec.name, spec.default, _descriptor(spec))
    return table


def unknown(name: str, table: Mapping[str, ParameterSpec]) -> str:
    """Return what to tell who gave a name that no parameter has."""
    near = difflib.get_close_matches(name, table, 1)
    meant = f"did you mean '{near[0]}'? " if near else ""
    return f"unknown parameter '{name}': {meant}known are {', '.join(sorted(table))}"


def changed(table: Mapping[str, ParameterSpec], parameter: Parameter[Any], active: bool) -> Parameter[Any]:
    """Return a parameter of a running node as it is to be set: whole numbers become floats where those are wanted.

    active: only what is `live` may change. Raises ConfigError for what is not allowed.
    """
    name, spec = parameter.name, table.get(parameter.name)
    if spec is None:
        if name not in _BUILT_IN:
            raise ConfigError(unknown(name, table))
        return parameter
    if parameter.type_ == Parameter.Type.NOT_SET:
        raise ConfigError(f"parameter '{name}' cannot be deleted: set it to {spec.default!r}, its default, instead")
    if reason := refusal(spec, parameter.value):
        raise ConfigError(reason)
    if active and not spec.live:
        raise ConfigError(f"parameter '{name}' cannot change while the node is active: deactivate it first")
    return Parameter(name, value=float(parameter.value)) if _is_whole_number(spec, parameter.value) else parameter


def refusal(spec: ParameterSpec, value: Any) -> str:
    """Return why a value is not allowed, or ""."""
    if _is_whole_number(spec, value):
        value = float(value)
    if type(value) is not type(spec.default):
        return f"parameter '{spec.name}' is {value!r}; it must be a {type(spec.default).__name__} ({spec.text})"
    if spec.choices and value not in spec.choices:
        return f"parameter '{spec.name}' is '{value}'; it must be one of {', '.join(spec.choices)} ({spec.text})"
    low, high = spec.low, spec.high
    number = value if isinstance(value, (int, float)) else None
    if number is not None and low is not None and high is not None and not low <= number <= high:
        return f"parameter '{spec.name}' is {value}; it must be between {low} and {high} ({spec.text})"
    if spec.check is not None and isinstance(value, str):
        try:
            spec.check(value)
        except ConfigError as error:
            return f"parameter '{spec.name}' is '{value}': {error}"
    return ""


def _is_whole_number(spec: ParameterSpec, value: Any) -> bool:
    """Whether a float was asked for and an integer given, as from a command line: margin:=0."""
    return isinstance(spec.default, float) and isinstance(value, int) and not isinstance(value, bool)


def _descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    text = spec.text + (f"; one of {', '.join(spec.choices)}" if spec.choices else "")
    descriptor = ParameterDescriptor(name=spec.name, type=_TYPES[type(spec.default)], description=text)
    if spec.low is not None and spec.high is not None:
        if isinstance(spec.default, int):
            descriptor.integer_range = [IntegerRange(from_value=int(spec.low), to_value=int(spec.high), step=0)]
        else:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(spec.low), to_value=float(spec.high), step=0.0)
            ]
    return descriptor
