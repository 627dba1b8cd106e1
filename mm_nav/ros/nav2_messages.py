"""Results and feedback of Nav2's actions, by what the installed nav2_msgs has: they differ from Humble to Kilted."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from geometry_msgs.msg import PoseStamped

from mm_nav.command import ErrorCode
from mm_nav.errors import ConfigError, GoalError

NAVIGATE_TO_POSE, NAVIGATE_THROUGH_POSES, FOLLOW_WAYPOINTS = (
    "navigate_to_pose",
    "navigate_through_poses",
    "follow_waypoints",
)
_CLASSES = {
    NAVIGATE_TO_POSE: "NavigateToPose", NAVIGATE_THROUGH_POSES: "NavigateThroughPoses", FOLLOW_WAYPOINTS: "FollowWaypoints"
}  # fmt: skip
# The numbers of Nav2: of the action itself where it has one (Kilted), else that of the server whose code bt_navigator passes on.
_UNKNOWN = {NAVIGATE_TO_POSE: 9000, NAVIGATE_THROUGH_POSES: 9100, FOLLOW_WAYPOINTS: 600}
_TF_ERROR, _TIMEOUT = 2, 3  # beyond UNKNOWN; follow_waypoints has neither
_NO_VALID_PATH, _FAILED_TO_MAKE_PROGRESS = 208, 105  # ComputePathToPose, FollowPath
NO_VALID_WAYPOINTS, STOP_ON_MISSED_WAYPOINT = 602, 603


class Status(IntEnum):
    """What became of a pose; the values are those of nav2_msgs/WaypointStatus."""

    PENDING = 0
    COMPLETED = 1
    SKIPPED = 2
    FAILED = 3


@dataclass(frozen=True)
class Waypoint:
    """One pose of several. code, text: why it was missed."""

    index: int
    pose: PoseStamped
    status: Status = Status.PENDING
    code: int = 0
    text: str = ""


def load_actions() -> dict[str, Any]:
    """Return Nav2's action classes by the action's name. Raises ConfigError where nav2_msgs is not installed."""
    try:
        module = importlib.import_module("nav2_msgs.action")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "the Nav2 bridge needs the package nav2_msgs: install ros-<distro>-nav2-msgs, or leave the bridge out "
            "(launch argument nav2:=false)"
        ) from error
    return {name: getattr(module, kind) for name, kind in _CLASSES.items()}


def poses_of(action: str, goal: Any, frames: Sequence[str]) -> tuple[PoseStamped, ...]:
    """Return the poses of a goal; frames: those that are taken. Raises GoalError for none, or one in another frame."""
    if action == NAVIGATE_TO_POSE:
        poses = (goal.pose,)
    else:
        # Kilted's NavigateThroughPoses wraps them in nav_msgs/Goals.
        poses = tuple(getattr(goal.poses, "goals", goal.poses))
    if not poses:
        raise GoalError("the goal has no poses: give one at least")
    for pose in poses:
        if pose.header.frame_id.lstrip("/") not in ("", *frames):
            raise GoalError(f"the goal pose is in frame '{pose.header.frame_id}': give it in {' or '.join(frames)}")
    return poses


def nav2_code(action: str, error: ErrorCode) -> int:
    """Return Nav2's number for how a drive ended."""
    if error is ErrorCode.NONE:
        return 0
    if error is ErrorCode.TIMEOUT and action != FOLLOW_WAYPOINTS:
        return _UNKNOWN[action] + _TIMEOUT
    return {ErrorCode.NO_PATH: _NO_VALID_PATH, ErrorCode.STUCK: _FAILED_TO_MAKE_PROGRESS}.get(error, _UNKNOWN[action])


def frame_code(action: str) -> int:
    """Return Nav2's number for a goal whose poses cannot be used."""
    return NO_VALID_WAYPOINTS if action == FOLLOW_WAYPOINTS else _UNKNOWN[action] + _TF_ERROR


def result_message(kind: Any, code: int, text: str, waypoints: Sequence[Waypoint]) -> Any:
    """Return the result of an action class: Humble's is empty, Jazzy's and Kilted's have code and text."""
    result = kind.Result()
    fill(result, error_code=code, error_msg=text)
    fill_waypoints(result, "waypoint_statuses", waypoints)
    fill_waypoints(result, "missed_waypoints", [w for w in waypoints if w.status is Status.FAILED])
    return result


def fill(message: Any, **values: Any) -> None:
    """Set those fields that a message has."""
    for name, value in values.items():
        if hasattr(message, name):
            setattr(message, name, value)


def fill_waypoints(message: Any, field: str, waypoints: Sequence[Waypoint]) -> None:
    """Set a list of waypoints, if the message has that field: as numbers (Humble), MissedWaypoint (Jazzy) or WaypointStatus."""
    declared = message.get_fields_and_field_types().get(field)
    if declared is None:
        return
    found = re.search(r"nav2_msgs/(\w+)", declared)
    if found is None:
        setattr(message, field, [waypoint.index for waypoint in waypoints])
        return
    kind = getattr(importlib.import_module("nav2_msgs.msg"), found[1])
    items = []
    for waypoint in waypoints:
        item = kind()
        fill(item, waypoint_status=int(waypoint.status), waypoint_index=waypoint.index, waypoint_pose=waypoint.pose)
        fill(item, index=waypoint.index, goal=waypoint.pose, error_code=waypoint.code, error_msg=waypoint.text)
        items.append(item)
    setattr(message, field, items)
