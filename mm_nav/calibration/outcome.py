"""A calibration as numbers that people use: poses with standard deviations, what is missing, and the lines to put into files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from mm_nav.calibration.calibrate import OFFSET_KNOWN_S, Calibration
from mm_nav.calibration.frames import body_of, xyz_rpy
from mm_nav.sensing.messages import quaternion_from_matrix

Floats = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

NAMES = ("x", "y", "z", "roll", "pitch", "yaw")


@dataclass(frozen=True)
class MountedPose:
    """A pose as people write it: parent_T_child of frames by these names. xyz: metres. rpy: rad, about the parent's fixed axes.
    deviation: standard deviations of these six."""

    parent: str
    child: str
    xyz: tuple[float, float, float]
    rpy: tuple[float, float, float]
    deviation: tuple[float, ...]


@dataclass(frozen=True)
class Outcome:
    """What is told of a calibration.

    body: the camera's body (x ahead, y left, z up) in the robot's base, where known, else in the LiDAR. optical: the picture's
    frame in the LiDAR. edge: the transform to correct, so that the tree is right; None = the recording has none. claimed_body: as
    body, of what the transforms said. moved_m, turned_rad: how far that was off. offset_s: how much later pictures are stamped than
    sweeps; None = it cannot be told.
    """

    body: MountedPose
    optical: MountedPose
    edge: MountedPose | None
    claimed_body: MountedPose | None
    moved_m: float
    turned_rad: float
    offset_s: float | None
    offset_deviation_s: float


def outcome_of(calibration: Calibration) -> Outcome:
    """Return what is told of a calibration."""
    solution, lidar, camera = calibration.solution, calibration.lidar_frame, calibration.camera_frame
    base_T_lidar = np.eye(4) if calibration.base_T_lidar is None else calibration.base_T_lidar
    parent = calibration.base_frame or lidar
    known, deviation_s = solution.deviation[6] > 0, float(solution.deviation[6])

    def in_base(lidar_T_camera: Matrix) -> Matrix:
        return body_of(base_T_lidar @ lidar_T_camera)

    claimed, moved, turned = None, float("nan"), float("nan")
    if calibration.claimed is not None:
        claimed = MountedPose(parent, "camera body", *_split(in_base(calibration.claimed)), (0.0,) * 6)
        moved = float(np.linalg.norm(solution.lidar_T_camera[:3, 3] - calibration.claimed[:3, 3]))
        apart = Rotation.from_matrix(solution.lidar_T_camera[:3, :3].T @ calibration.claimed[:3, :3])
        turned = float(apart.magnitude())
    return Outcome(
        _mounted(calibration, parent, "camera body", in_base), _mounted(calibration, lidar, camera, lambda pose: pose),
        _edge(calibration), claimed, moved, turned,
        solution.offset_s if known and deviation_s < OFFSET_KNOWN_S else None, deviation_s if known else float("nan"),
    )  # fmt: skip


def _edge(calibration: Calibration) -> MountedPose | None:
    frames, lidar, camera = calibration.frames, calibration.lidar_frame, calibration.camera_frame
    edge = frames.edge_between(lidar, camera)
    if edge is None:
        return None
    parent, child = edge
    parent_T_lidar, child_T_camera = frames.lookup(parent, lidar), frames.lookup(child, camera)
    if parent_T_lidar is None or child_T_camera is None:
        return None
    if child in frames.above(camera):
        optical_T_child = np.linalg.inv(child_T_camera @ calibration.frame_T_optical)
        return _mounted(calibration, parent, child, lambda pose: parent_T_lidar @ pose @ optical_T_child)
    # The LiDAR is mounted on the camera: its transform is corrected.
    parent_T_camera, child_T_lidar = frames.lookup(parent, camera), frames.lookup(child, lidar)
    assert parent_T_camera is not None and child_T_lidar is not None
    before, after = parent_T_camera @ calibration.frame_T_optical, np.linalg.inv(child_T_lidar)
    return _mounted(calibration, parent, child, lambda pose: before @ np.linalg.inv(pose) @ after)


def _mounted(calibration: Calibration, parent: str, child: str, of: Callable[[Matrix], Matrix]) -> MountedPose:
    """Return a pose that follows from lidar_T_camera, with its standard deviations to first order."""
    solution = calibration.solution

    def values(step: Floats) -> Floats:
        pose = solution.lidar_T_camera.copy()
        pose[:3, :3] = Rotation.from_rotvec(step[:3]).as_matrix() @ pose[:3, :3]
        pose[:3, 3] += step[3:]
        return np.array(xyz_rpy(of(pose)))

    size = 1e-5
    slope = np.stack([_wrapped(values(size * axis) - values(-size * axis)) / (2 * size) for axis in np.eye(6)], axis=1)
    covariance = slope @ solution.covariance[:6, :6] @ slope.T
    deviation = tuple(float(value) for value in np.sqrt(np.maximum(np.diag(covariance), 0.0)))
    return MountedPose(parent, child, *_split(of(solution.lidar_T_camera)), deviation)


def _split(pose: Matrix) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    x, y, z, roll, pitch, yaw = xyz_rpy(pose)
    return (x, y, z), (roll, pitch, yaw)


def _wrapped(values: Floats) -> Floats:
    wrapped = values.copy()
    wrapped[3:] = (values[3:] + np.pi) % (2 * np.pi) - np.pi
    return wrapped


def as_dict(calibration: Calibration, outcome: Outcome, wanted: list[str]) -> dict[str, Any]:
    """Return everything for --json, flat. wanted: advice, as advice_on gives it."""
    solution = calibration.solution
    found: dict[str, Any] = {
        "bag": str(calibration.path), "board": calibration.board.described(), "image_topic": calibration.image_topic,
        "lidar_topic": calibration.lidar_topic, "lidar": "2d" if calibration.is_planar else "3d",
        "camera_frame": calibration.camera_frame, "lidar_frame": calibration.lidar_frame,
        "base_frame": calibration.base_frame, "pictures": calibration.pictures, "pictures_with_board": calibration.seen,
        "views": calibration.views, "views_on_board": len(calibration.constraints),
        "views_used": int(solution.used.sum()), "still_views_used": calibration.still_views,
        "residual_rms_mm": 1e3 * solution.rms_m, "lidar_noise_mm": 1e3 * solution.noise_m,
        "chi2_per_dof": solution.chi2_per_dof,
        "lidar_T_camera": solution.lidar_T_camera.tolist(),
        "lidar_T_camera_quaternion_xyzw": list(quaternion_from_matrix(solution.lidar_T_camera[:3, :3])),
        "time_offset_ms": None if outcome.offset_s is None else 1e3 * outcome.offset_s,
        "time_offset_std_ms": 1e3 * outcome.offset_deviation_s,
        "claimed_off_m": outcome.moved_m, "claimed_off_deg": np.degrees(outcome.turned_rad),
        "advice": wanted, "warnings": list(calibration.warnings),
    }  # fmt: skip
    for name, pose in (("body", outcome.body), ("optical", outcome.optical), ("edge", outcome.edge)):
        if pose is not None:
            found |= {f"{name}_parent": pose.parent, f"{name}_child": pose.child}
            for k, key in enumerate(NAMES):
                value, deviation = (*pose.xyz, *pose.rpy)[k], pose.deviation[k]
                unit, factor = ("m", 1.0) if k < 3 else ("deg", 180 / np.pi)
                found |= {f"{name}_{key}_{unit}": factor * value, f"{name}_{key}_std_{unit}": factor * deviation}
    return found


def as_yaml(calibration: Calibration, outcome: Outcome) -> str:
    """Return lines for a robot's file in config/robots, and the same as a static transform."""
    body, pose = outcome.body, outcome.edge or outcome.optical
    x, y, z = (f"{value:.4f}" for value in body.xyz)
    roll, pitch, yaw = (f"{value:.5f}" for value in body.rpy)
    off = ", ".join(f"{name} {value:.4f}" for name, value in zip(NAMES, body.deviation, strict=True))
    return (
        f"# Camera in {body.parent}, by `mm-nav calibrate` from {calibration.path.name}: "
        f"{int(calibration.solution.used.sum())} views, {1e3 * calibration.solution.rms_m:.1f} mm.\n"
        f"# Standard deviations (m, rad): {off}.\n"
        "# For `sensors: camera:` of a file in config/robots; roll, pitch and yaw in rad about the parent's fixed axes.\n"
        f"camera: {{position: [{x}, {y}, {z}], roll: {roll}, pitch: {pitch}, yaw: {yaw}}}\n"
        f"# The same for the robot's transforms: {pose.parent} -> {pose.child}.\n"
        f"static_transform: {{parent: {pose.parent}, child: {pose.child}, xyz: {_list(pose.xyz)}, rpy: {_list(pose.rpy)}}}\n"
    )


def as_urdf(outcome: Outcome) -> str:
    """Return the joint to put into the robot's URDF in place of the one between the same links."""
    pose = outcome.edge or outcome.optical
    xyz, rpy = (" ".join(f"{value:.6f}" for value in values) for values in (pose.xyz, pose.rpy))
    return (
        f'<joint name="{pose.child}_joint" type="fixed">\n'
        f'  <parent link="{pose.parent}"/>\n'
        f'  <child link="{pose.child}"/>\n'
        f'  <origin xyz="{xyz}" rpy="{rpy}"/>\n'
        "</joint>\n"
    )


def as_command(outcome: Outcome) -> str:
    """Return the command that publishes the transform to correct."""
    pose = outcome.edge or outcome.optical
    keys = ("--x", "--y", "--z", "--roll", "--pitch", "--yaw")
    numbers = " ".join(f"{key} {value:.5f}" for key, value in zip(keys, (*pose.xyz, *pose.rpy), strict=True))
    return (
        f"ros2 run tf2_ros static_transform_publisher {numbers} --frame-id {pose.parent} --child-frame-id {pose.child}"
    )


def _list(values: tuple[float, ...]) -> str:
    return "[" + ", ".join(f"{value:.5f}" for value in values) + "]"
