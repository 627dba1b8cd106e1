"""The robot's body and limits, shared by the simulator, the controller and the guard; and robots that people have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mm_nav.config_file import from_mapping, read_yaml
from mm_nav.errors import ConfigError
from mm_nav.resources import resource_path

DRIVES = ("differential", "omni", "ackermann")


@dataclass(frozen=True)
class RobotConfig:
    """A wheeled robot.

    footprint: corners (x, y) in base_link, metres, counter-clockwise, convex. height_m: top of the body above the
    floor; ground_clearance_m: bottom, from 0 to below height_m. Speeds m/s and rad/s, accelerations m/s² and rad/s² (absolute);
    command_delay_s: time from command to motion.

    drive: differential; omni (also sideways, up to max_lateral); ackermann (turns by steering its front wheels: needs
    wheelbase_m, steers up to max_steer rad at max_steer_rate rad/s, base_link is the middle of the rear axle).
    wheel_slip, turn_slip: shares of the wheels' travel and turning that the ground does not follow: the standard
    deviation of a loss drawn anew in every physics step; the odometry does not see it. Raises ConfigError on values that
    no robot can have.
    """

    name: str = "generic"
    footprint: tuple[tuple[float, float], ...] = ((0.18, 0.16), (-0.18, 0.16), (-0.18, -0.16), (0.18, -0.16))
    height_m: float = 0.35
    ground_clearance_m: float = 0.03
    max_linear: float = 0.8
    min_linear: float = -0.2
    max_angular: float = 1.8
    max_linear_accel: float = 3.0
    max_angular_accel: float = 4.0
    command_delay_s: float = 0.0
    drive: str = "differential"
    max_lateral: float = 0.0
    wheelbase_m: float = 0.0
    max_steer: float = 0.5
    max_steer_rate: float = 3.0
    wheel_slip: float = 0.0
    turn_slip: float = 0.0

    def __post_init__(self) -> None:
        if len(self.footprint) < 3:
            raise ConfigError(f"robot '{self.name}': the footprint needs at least 3 corners, got {len(self.footprint)}")
        if not _is_convex(self.footprint_array()):
            raise ConfigError(
                f"robot '{self.name}': the footprint is not convex and counter-clockwise: give its corners in that order"
            )
        for field_name in ("height_m", "max_linear", "max_angular", "max_linear_accel", "max_angular_accel"):
            if not getattr(self, field_name) > 0:
                raise ConfigError(f"robot '{self.name}': {field_name} must be above 0, got {getattr(self, field_name)}")
        if not 0 <= self.ground_clearance_m < self.height_m:
            raise ConfigError(
                f"robot '{self.name}': ground_clearance_m must be from 0 to below height_m ({self.height_m}), got "
                f"{self.ground_clearance_m}"
            )
        if self.drive not in DRIVES:
            raise ConfigError(
                f"robot '{self.name}': drive '{self.drive}' is not known: give one of {', '.join(DRIVES)}"
            )
        if self.drive == "omni" and not self.max_lateral > 0:
            raise ConfigError(f"robot '{self.name}': an omni drive needs max_lateral above 0 m/s")
        if self.drive == "ackermann" and not (
            self.wheelbase_m > 0 and 0 < self.max_steer < 1.5 and self.max_steer_rate > 0
        ):
            raise ConfigError(
                f"robot '{self.name}': an ackermann drive needs wheelbase_m above 0, max_steer from 0 to 1.5 rad and "
                "max_steer_rate above 0"
            )
        for field_name in ("command_delay_s", "wheel_slip", "turn_slip"):
            if not 0 <= getattr(self, field_name) < 1:
                raise ConfigError(
                    f"robot '{self.name}': {field_name} must be from 0 to 1, got {getattr(self, field_name)}"
                )

    def footprint_array(self) -> npt.NDArray[np.float64]:
        """Return the footprint as (K, 2) float64, metres, base_link."""
        return np.asarray(self.footprint, np.float64)

    @property
    def inscribed_radius(self) -> float:
        """Largest circle around base_link that stays inside the footprint, metres."""
        corners = self.footprint_array()
        edges = np.roll(corners, -1, axis=0) - corners
        return float(np.min(np.abs(edges[:, 0] * corners[:, 1] - edges[:, 1] * corners[:, 0]) / np.hypot(*edges.T)))

    @property
    def circumscribed_radius(self) -> float:
        """Smallest circle around base_link that holds the footprint, metres."""
        return float(np.max(np.hypot(*self.footprint_array().T)))

    @property
    def min_turning_radius(self) -> float:
        """Smallest circle that base_link can drive, metres; 0 for drives that turn in place."""
        return self.wheelbase_m / math.tan(self.max_steer) if self.drive == "ackermann" else 0.0


def _is_convex(corners: npt.NDArray[np.float64]) -> bool:
    edges = np.roll(corners, -1, axis=0) - corners
    following = np.roll(edges, -1, axis=0)
    return bool(np.all(edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0] >= -1e-12))


def robot_file(name: str | Path) -> Path:
    """Return the file of a robot: a path to a YAML file, or the name of one in config/robots. Raises ConfigError."""
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return path
    known = sorted(file.stem for file in resource_path("config/robots").glob("*.yaml"))
    if str(name) not in known:
        raise ConfigError(f"robot '{name}' is not known: give one of {', '.join(known)}, or the path of a YAML file")
    return resource_path(f"config/robots/{name}.yaml")


def load_robot(name: str | Path) -> RobotConfig:
    """Return the body of a robot, by its name in config/robots or by its YAML file.

    Raises ConfigError when there is no such file, it is not YAML, or its `body` has unknown or impossible values.
    """
    path = robot_file(name)
    data = read_yaml(path)
    body = data.get("body") or {}
    if isinstance(body, dict) and "footprint" in body:
        try:
            body = {**body, "footprint": tuple((float(x), float(y)) for x, y in body["footprint"])}
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{path}: footprint is not a list of [x, y] corners ({error}): correct it") from error
    return from_mapping(RobotConfig, {"name": path.stem, **body}, f"{path}: body")
