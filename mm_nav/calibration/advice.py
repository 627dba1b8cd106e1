"""What a recording leaves open, and which further views would tell it, in plain words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mm_nav.calibration.calibrate import ENOUGH_VIEWS, OFFSET_KNOWN_S, Calibration
from mm_nav.calibration.outcome import Outcome

Floats = npt.NDArray[np.float64]

# Standard deviations above which a direction counts as poorly determined.
POOR_M, POOR_RAD = 0.015, np.radians(0.6)
_LEVEL_SPREAD, _SIDE_SPREAD = 0.17, 0.17  # sine of ten degrees
_WIDE_SHARE, _DEEP_M = 0.4, 0.5
_STRANGE = 2.5


def poor_directions(calibration: Calibration) -> list[str]:
    """Return the directions, of the LiDAR's axes, that views say little about, with their standard deviations."""
    deviation = calibration.solution.deviation
    names = ("turning about x (roll)", "turning about y (pitch)", "turning about z (yaw)")
    found = [
        f"{name}: ± {np.degrees(value):.1f} degrees"
        for name, value in zip(names, deviation[:3], strict=True)
        if value > POOR_RAD
    ]
    for name, value in zip(("x (ahead)", "y (left)", "z (up)"), deviation[3:6], strict=True):
        if value > POOR_M:
            found.append(f"{name}: ± {100 * value:.1f} cm")
    return found


def advice_on(calibration: Calibration, outcome: Outcome) -> list[str]:
    """Return which further views are needed or would help; [] = none."""
    found: list[str] = []
    kept = [c for c, used in zip(calibration.constraints, calibration.solution.used, strict=True) if used]
    views, enough = calibration.still_views, ENOUGH_VIEWS[calibration.is_planar]
    deviation = calibration.solution.deviation
    rotation = calibration.solution.lidar_T_camera[:3, :3]
    normals = np.array([rotation @ c.view.pose.normal for c in kept])
    up, ahead, aside = _spreads(normals)
    if up < _LEVEL_SPREAD and (deviation[[0, 1]].max() > POOR_RAD or deviation[5] > POOR_M):
        found.append(
            "tilt the board's top towards the robot in some views and away in others, by 20 to 40 degrees: upright boards "
            "say nothing about how high the camera is, nor how it is pitched and rolled"
        )
    elif deviation[5] > POOR_M or deviation[[0, 1]].max() > POOR_RAD:
        found.append(
            "take more views with the board tilted, top towards the robot and top away, by 30 degrees or more, both near and "
            "at the left and right of the picture: height, pitch and roll are known worst"
        )
    if min(ahead, aside) < _SIDE_SPREAD and deviation[3:5].max() > POOR_M:
        found.append(
            "turn the board's left side towards the robot in some views and its right side in others, by 30 degrees"
        )
    columns = np.array([c.view.pose.centre[0] / c.view.pose.centre[2] for c in kept])
    half_width = calibration.lens.size[1] / 2 or calibration.lens.intrinsics[0, 2]
    if np.ptp(columns) * calibration.lens.intrinsics[0, 0] < _WIDE_SHARE * half_width and deviation[2] > POOR_RAD:
        found.append("hold the board at the left and the right of the picture, not only in its middle")
    distances = np.array([c.view.pose.centre[2] for c in kept])
    if np.ptp(distances) < _DEEP_M and deviation[:3].max() > POOR_RAD:
        found.append(
            f"hold the board at several distances: all views are {distances.min():.1f} to {distances.max():.1f} m away"
        )
    if views < enough:
        still = f"{views} views in which board and robot stood still were used"
        found.append(f"hold the board still for a second in more places: {still}, {enough} or more are good")
    left_out = len(kept) - len(calibration.constraints)
    if -left_out > 0.25 * len(calibration.constraints):
        found.append(
            f"{-left_out} of {len(calibration.constraints)} views contradict the others and were left out: keep the board flat "
            "(glue it to a stiff plate) and still"
        )
    if calibration.solution.chi2_per_dof > _STRANGE:
        found.append(
            f"errors are {np.sqrt(calibration.solution.chi2_per_dof):.1f} times as large as the sensors' noise explains: look for "
            "a board that bends, a lens calibration (camera_info) that is off, or a scan that is not level"
        )
    if outcome.offset_s is None and calibration.still_views < len(kept):
        found.append(
            "to learn how far the clocks are apart (it cannot be told now), move the board quickly to and fro towards the "
            "robot, half a metre a second, for ten seconds"
        )
    elif outcome.offset_s is not None and abs(outcome.offset_s) > max(0.01, 3 * outcome.offset_deviation_s):
        later = "later" if outcome.offset_s > 0 else "earlier"
        found.append(
            f"pictures are stamped {1e3 * abs(outcome.offset_s):.0f} ms (± {1e3 * outcome.offset_deviation_s:.0f}) {later} than "
            "sweeps of the same moment: correct it in the camera's driver, or the robot sees things aside when it turns"
        )
    return found


def offset_text(calibration: Calibration, outcome: Outcome) -> str:
    """Return what is known of the clocks' offset, in a sentence."""
    if outcome.offset_s is not None:
        return f"pictures are stamped {1e3 * outcome.offset_s:+.1f} ms after sweeps (± {1e3 * outcome.offset_deviation_s:.1f} ms)"
    if np.isfinite(outcome.offset_deviation_s):
        return (
            f"clock offset not observable (± {1e3 * outcome.offset_deviation_s:.0f} ms; {1e3 * OFFSET_KNOWN_S:.0f} are needed): "
            "little moved"
        )
    return "clock offset not observable: nothing moved, or it was not asked for"


def _spreads(normals: Floats) -> tuple[float, float, float]:
    """Return how much boards' normals (N, 3) vary: up and down, and along their two main directions seen from above."""
    up = float(np.sqrt(np.mean(normals[:, 2] ** 2)))
    level = normals[:, :2]
    _, strength, _ = np.linalg.svd(level, full_matrices=False)
    strength = np.r_[strength, 0.0, 0.0][:2] / np.sqrt(len(normals))
    return up, float(strength[0]), float(strength[1])
