"""Devices at the edge: the budget that a command has there, and what the hardware could do. Files: config/edge/."""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from mm_nav.config_file import from_mapping, read_yaml
from mm_nav.errors import ConfigError
from mm_nav.resources import resource_path
from mm_nav.runtime.engines import PRECISIONS

_LIGHTEST = "tiny"  # of the models that come with mm_nav


@dataclass(frozen=True)
class Hardware:
    """Peak rates, dense, and what is assumed of kernels as small as ours. launch_us: microseconds that starting one takes.
    compute_share, memory_share: of the peaks that they reach, above 0 to 1."""

    fp32_tflops: float
    fp16_tflops: float
    int8_tops: float
    memory_gb_s: float
    launch_us: float
    compute_share: float
    memory_share: float

    def __post_init__(self) -> None:
        for item in fields(self):
            if not getattr(self, item.name) > 0.0:
                raise ConfigError(f"hardware: {item.name} is {getattr(self, item.name)}: it must be above 0")
        if self.compute_share > 1.0 or self.memory_share > 1.0:
            raise ConfigError("hardware: compute_share and memory_share are at most 1")

    def peak(self, precision: str) -> float:
        """Return operations per second at a precision."""
        return 1e12 * {"fp32": self.fp32_tflops, "fp16": self.fp16_tflops, "int8": self.int8_tops}[precision]


@dataclass(frozen=True)
class EdgeProfile:
    """A device's budget. provider, precision, model: what runs there. deadline_ms: from a scan's arrival to its
    command. Raises ConfigError for values that cannot be."""

    name: str
    provider: str
    precision: str
    model: str
    deadline_ms: float
    hardware: Hardware

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(f"{self.name}: unknown precision '{self.precision}': give {', '.join(PRECISIONS)}")
        if not 0.0 < self.deadline_ms <= 1000.0:
            raise ConfigError(f"{self.name}: deadline_ms is {self.deadline_ms}: it must be above 0 and at most 1000")


@dataclass(frozen=True)
class InferenceSettings:
    """What the inference node runs, and in which time. model, light_model: paths; "" = the one of mm_nav, and none. deadline_ms:
    0 = none. provider, precision: "auto" = the best there is."""

    model: str = ""
    provider: str = "auto"
    precision: str = "auto"
    deadline_ms: float = 0.0
    light_model: str = ""

    def on(self, device: str) -> InferenceSettings:
        """Return the settings, with what is left at its default taken from a device's profile; "" = as they are. Raises ConfigError
        for an unknown device."""
        if not device:
            return self
        profile = load_edge_profile(device)
        # A model that is given may be none that a lighter one of mm_nav stands for.
        light = str(_shipped(_LIGHTEST)) if not self.model and profile.model != _LIGHTEST else ""
        # Its precision is that of its provider.
        precision = profile.precision if self.provider in ("auto", profile.provider) else "auto"
        own = InferenceSettings(str(_shipped(profile.model)), profile.provider, precision, profile.deadline_ms, light)
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        return replace(own, **given)


def _shipped(model: str) -> Path:
    return resource_path(f"models/{model}.onnx")


def edge_devices() -> tuple[str, ...]:
    """Return the names of the devices that come with mm_nav."""
    return tuple(sorted(path.stem for path in resource_path("config/edge").glob("*.yaml")))


def load_edge_profile(device: str) -> EdgeProfile:
    """Return the profile of a device: a name of config/edge, or the path of such a file; `rate_hz`, which some still have, means
    nothing. Raises ConfigError."""
    path = Path(device)
    if path.suffix not in (".yaml", ".yml"):
        if device not in edge_devices():
            raise ConfigError(
                f"unknown device '{device}': give {', '.join(edge_devices())}, or a YAML file like theirs"
            )
        path = resource_path(f"config/edge/{device}.yaml")
    data: dict[str, Any] = {"name": path.stem, **read_yaml(path, "config/edge/orin-nano.yaml")}
    if data.pop("rate_hz", None) is not None:
        sys.stderr.write(f"{path}: rate_hz is not used any more: take it out\n")
    data["hardware"] = from_mapping(Hardware, data.get("hardware") or {}, f"{path}: hardware")
    return from_mapping(EdgeProfile, data, str(path))
