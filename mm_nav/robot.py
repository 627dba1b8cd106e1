"""The robot's body and limits, shared by the simulator, the controller and the guard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError


@dataclass(frozen=True)
class RobotConfig:
    """A differential-drive robot.

    footprint: corners (x, y) in base_link, metres, counter-clockwise, convex. height_m: top of the body above the
    floor; ground_clearance_m: bottom. Speeds m/s and rad/s, accelerations m/s² and rad/s² (absolute values);
    command_delay_s: time from command to motion. Raises ConfigError on values that no robot can have.
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

    def __post_init__(self) -> None:
        if len(self.footprint) < 3:
            raise ConfigError(f"robot '{self.name}': the footprint needs at least 3 corners, got {len(self.footprint)}")
        for field_name in ("height_m", "max_linear", "max_angular", "max_linear_accel", "max_angular_accel"):
            if not getattr(self, field_name) > 0:
                raise ConfigError(f"robot '{self.name}': {field_name} must be above 0, got {getattr(self, field_name)}")

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
