"""Declared, described and range-checked parameters; what is unknown or out of range is refused with the allowed range."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, ParameterType, SetParametersResult
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


def declare(node: Node, specs: Iterable[ParameterSpec]) -> None:
    """Declare all parameters of a node. Raises ConfigError for a value or a name that is not allowed."""
    table = {spec.name: spec for spec in specs}
    given = {name: parameter.value for name, parameter in node._parameter_overrides.items()}
    unknown = sorted(
        name for name in given if name not in table and name not in _BUILT_IN and not name.startswith("qos_overrides")
    )
    if unknown:
        raise ConfigError(f"{node.get_name()}: unknown parameter '{unknown[0]}'; known are {', '.join(sorted(table))}")
    for spec in table.values():
        value = given.get(spec.name, spec.default)
        if isinstance(spec.default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
            node._parameter_overrides[spec.name] = Parameter(spec.name, value=value)
        reason = refusal(spec, value)
        if reason:
            raise ConfigError(f"{node.get_name()}: {reason}")
        node.declare_parameter(spec.name, spec.default, _descriptor(spec))

    def check(changed: list[Parameter]) -> SetParametersResult:
        for parameter in changed:
            spec = table.get(parameter.name)
            if spec is None:
                continue
            reason = refusal(spec, parameter.value)
            if not reason and not spec.live and getattr(node, "active", False):
                reason = f"parameter '{spec.name}' cannot change while the node is active: deactivate it first"
            if reason:
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)


def refusal(spec: ParameterSpec, value: Any) -> str:
    """Return why a value is not allowed, or ""."""
    if isinstance(spec.default, float) and isinstance(value, int) and not isinstance(value, bool):
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
