"""Parameters of the navigator; the ROS node declares the same names with the same ranges."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from mm_nav.control.mppi import MppiConfig
from mm_nav.errors import ConfigError
from mm_nav.mapping.belief import BeliefConfig
from mm_nav.planning.grid_planner import PlannerConfig


def _ranged(default: float, low: float, high: float, text: str) -> Any:
    return field(default=default, metadata={"low": low, "high": high, "text": text})


@dataclass(frozen=True)
class NavigatorConfig:
    """Each field's metadata holds its range and meaning; a value outside its range raises ConfigError."""

    stop_distance_m: float = _ranged(0.86, 0.3, 2.0, "distance from the target's surface at which the robot stops, m")
    reach_distance_m: float = _ranged(0.9, 0.3, 3.0, "farthest distance from the surface that counts as reached, m")
    pass_distance_m: float = _ranged(1.35, 0.5, 4.0, "a thing to go past is passed within this distance, m")
    pose_tolerance_m: float = _ranged(0.25, 0.05, 2.0, "a goal pose is reached within this distance, m")
    heading_tolerance_rad: float = _ranged(
        0.1, 0.02, 3.15, "a goal pose's heading, where one is given, is taken up within this, rad; 3.15 = none is"
    )
    commit_confidence: float = _ranged(0.75, 0.5, 0.99, "belief from which the robot drives to the target")
    drop_confidence: float = _ranged(0.45, 0.05, 0.9, "belief below which it searches again")
    look_confidence: float = _ranged(0.2, 0.01, 0.9, "belief from which a doubtful target is looked at more closely")
    confirm_visible: float = _ranged(0.62, 0.0, 1.0, "what views from nearby must say together to confirm the target")
    confirm_views: float = _ranged(5, 1, 20, "views from nearby that it takes")
    confirm_timeout_s: float = _ranged(1.5, 0.5, 30.0, "time to get there before the target is set aside, s")
    doubt_visible: float = _ranged(0.4, 0.0, 1.0, "what views must say of a target that is set aside, not forgotten")
    high_from_m: float = _ranged(
        1.5, 0.0, 5.0, "from nearer than this what has its colour only high up, as a lamp, shows none to the camera, m"
    )
    settle_share: float = _ranged(0.6, 0.1, 1.0, "share of a goal's time after which the likeliest has to do")
    replan_period_s: float = _ranged(1.0, 0.1, 10.0, "time between global plans, s")
    scan_timeout_s: float = _ranged(
        1.0, 0.1, 10.0, "time without a scan until the goal fails, s (the robot stops at once)"
    )
    blind_time_s: float = _ranged(
        0.0, 0.0, 120.0, "time without a scan for which the robot drives on by its map, s (0 = it stops at once)"
    )
    policy_slow_s: float = _ranged(
        0.05,
        0.0,
        5.0,
        "time without policy output until the robot stops, s; below one scan period: at the first missing output",
    )
    camera_lost_s: float = _ranged(
        2.0, 0.2, 60.0, "time without a picture from which the robot counts the camera as lost, s"
    )
    policy_timeout_s: float = _ranged(1.0, 0.2, 20.0, "time without policy output until the goal fails, s")
    policy_start_s: float = _ranged(
        5.0, 0.0, 60.0, "time more for a policy that has never answered: it may be starting, s"
    )
    pose_waypoints: float = _ranged(
        0.0, 0.0, 1.0, "1 = the policy is asked for ways to a goal pose, too, and needed for it; 0 = it is not"
    )
    stuck_time_s: float = _ranged(4.0, 1.0, 60.0, "time without motion that counts as stuck, s")
    max_recoveries: float = _ranged(5, 0, 100, "recoveries without progress until the goal fails")
    camera_range_m: float = _ranged(4.5, 1.0, 20.0, "distance to which a look of the camera settles what is there, m")
    default_fov_rad: float = _ranged(1.5, 0.2, 3.1, "camera field of view while no image was seen, rad")
    belief: BeliefConfig = field(default_factory=BeliefConfig)
    planner: PlannerConfig = field(default_factory=PlannerConfig)
    mppi: MppiConfig = field(default_factory=MppiConfig)

    def __post_init__(self) -> None:
        for item in fields(self):
            if "low" not in item.metadata:
                continue
            value, low, high = getattr(self, item.name), item.metadata["low"], item.metadata["high"]
            if not low <= value <= high:
                raise ConfigError(
                    f"{item.name} is {value}; it must be between {low} and {high} ({item.metadata['text']})"
                )
