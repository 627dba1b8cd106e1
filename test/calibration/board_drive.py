"""Simulated recordings of a board before a robot whose true extrinsics differ from those it claims. No test itself."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from mm_nav.bags.writer import BASE, LASER, ObservationWriter, open_writer
from mm_nav.calibration.board import Board, charuco_board
from mm_nav.observation import Observation
from mm_nav.sensing.messages import quaternion_from_matrix
from mm_nav.sim.camera import BODY_R_OPTICAL
from mm_nav.sim.sdf import rotation_rpy, transform
from mm_nav.sim.simulator import CameraConfig, CloudConfig, LidarConfig, SimConfig, Simulator
from mm_nav.sim.world import parse_world

CHESSBOARD = Board(8, 6, 0.08, border_m=(0.04, 0.04))
CHARUCO = Board(8, 6, 0.08, 0.06, border_m=(0.04, 0.04))
PERIOD_NS = 100_000_000
NOISE = 3.0  # of each colour value, in [0, 255]


@dataclass(frozen=True)
class Truth:
    """What is simulated. claimed: base_T_camera (4, 4) that the recording's /tf_static says; None = says nothing of a camera."""

    config: SimConfig
    claimed: np.ndarray | None
    board: Board = CHESSBOARD

    @property
    def base_T_lidar(self):
        # Clouds are written in base_link.
        return np.eye(4) if self.config.lidar is None else self.config.lidar.base_T_sensor()

    @property
    def lidar_T_camera(self):
        return np.linalg.inv(self.base_T_lidar) @ self.config.camera.base_T_camera()


def robot(
    seed=0, *, cloud=False, width=640, distortion=(-0.12, 0.03, 0.0005, -0.0004), beams=720, samples=2, board=CHESSBOARD
):
    """Return a robot whose camera is some centimetres and degrees off from where it is claimed to be."""
    rng = np.random.default_rng([seed, 1])
    camera = CameraConfig(width, width * 3 // 4, 1.2, (0.12, 0.02, 0.34), supersample=samples, distortion=distortion)
    off = camera.base_T_camera()
    claimed = off.copy()
    claimed[:3, 3] += rng.uniform(0.02, 0.05, 3) * rng.choice([-1, 1], 3)
    turn = np.radians(rng.uniform(1.5, 4.0, 3) * rng.choice([-1, 1], 3))
    claimed[:3, :3] = rotation_rpy(*turn) @ claimed[:3, :3]
    lidar = LidarConfig(beams=beams, position=(0.05, 0.0, 0.22), yaw=0.1)
    ring = CloudConfig(rings=16, columns=1024, position=(0.0, 0.0, 0.45), rpy=(0.0, 0.0, 0.1)) if cloud else None
    return Truth(SimConfig(camera=camera, lidar=None if cloud else lidar, cloud=ring), claimed, board)


def board_picture(board: Board, pixels_per_square=64):
    """Return the whole board, border included, as a grey picture (H, W) uint8."""
    size = (board.columns * pixels_per_square, board.rows * pixels_per_square)
    if board.is_charuco:
        pattern = charuco_board(board).generateImage(size, marginSize=0)
    else:
        squares = np.indices((board.rows, board.columns)).sum(axis=0) % 2
        pattern = np.kron(squares, np.full((pixels_per_square,) * 2, 255)).astype(np.uint8)
    across, down = (round(b / board.square_m * pixels_per_square) for b in board.border_m)
    return cv2.copyMakeBorder(pattern, down, down, across, across, cv2.BORDER_CONSTANT, value=255)


def world_with(folder: Path, board: Board, world_T_board, surroundings=True):
    """Return a world with the board (its frame as in Board) at a pose (4, 4), and some walls and boxes."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"board_{board.columns}_{board.rows}_{board.is_charuco}.png"
    if not picture.exists():
        # On this face of a box the simulator shows pictures mirrored; a chessboard looks the same, markers do not.
        cv2.imwrite(str(picture), board_picture(board)[:, ::-1])
    half = board.half_size(outer=True)
    # A box whose face towards -x shows the picture upright: its x axis goes into the board, y to the left, z up.
    pose = world_T_board @ np.block([[BODY_R_OPTICAL.T, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])
    pose = pose @ transform(np.eye(3), (0.005, 0.0, 0.0))
    parts = [_box("board", pose, (0.01, 2 * half[0], 2 * half[1]), picture)]
    if surroundings:
        for k, (x, y, yaw, length) in enumerate([(5, 0, 0, 9), (0, 4.5, math.pi / 2, 10), (0, -4.0, math.pi / 2, 10)]):
            parts.append(_box(f"wall_{k}", transform(rotation_rpy(0, 0, yaw), (x, y, 1.0)), (0.1, length, 2.0)))
        for k, (x, y, size) in enumerate([(3.5, 1.8, 0.5), (3.8, -1.6, 0.4), (-1.5, 1.0, 0.6)]):
            parts.append(_box(f"box_{k}", transform(rotation_rpy(0, 0, 0.4 * k), (x, y, 0.4)), (size, size, 0.8)))
    text = f"<sdf version='1.9'><world name='w'>{''.join(parts)}</world></sdf>"
    return parse_world(text, folder)


def _box(name, pose, size, picture=None):
    roll = math.atan2(pose[2, 1], pose[2, 2])
    pitch = math.atan2(-pose[2, 0], math.hypot(pose[0, 0], pose[1, 0]))
    yaw = math.atan2(pose[1, 0], pose[0, 0])
    numbers = " ".join(f"{value:.9f}" for value in (*pose[:3, 3], roll, pitch, yaw))
    shape = f"<geometry><box><size>{' '.join(f'{v:.6f}' for v in size)}</size></box></geometry>"
    look = f"<material><pbr><metal><albedo_map>{picture}</albedo_map></metal></pbr></material>" if picture else ""
    return (
        f"<model name='{name}'><static>true</static><pose>{numbers}</pose><link name='l'>"
        f"<collision name='c'>{shape}</collision><visual name='v'>{shape}{look}</visual></link></model>"
    )


def board_poses(rng, count, *, tilt=0.6, roll=0.6, near=0.9, far=2.2, height=(0.22, 0.42)):
    """Return poses (4, 4) of a board in front of the robot, tilted in all directions."""
    found = []
    for _ in range(count):
        distance, bearing = rng.uniform(near, far), rng.uniform(-0.35, 0.35)
        place = (distance * math.cos(bearing), distance * math.sin(bearing), rng.uniform(*height))
        found.append(
            board_at(place, rng.uniform(-tilt, tilt), rng.uniform(-tilt, tilt) + bearing, rng.uniform(-roll, roll))
        )
    return found


def board_at(place, pitch, yaw, roll=0.0):
    """Return the pose (4, 4) of a board that faces -x: pitch, its top away (positive); yaw to the left; roll about its normal."""
    turn = rotation_rpy(0.0, 0.0, yaw) @ rotation_rpy(0.0, pitch, 0.0) @ rotation_rpy(roll, 0.0, 0.0)
    return transform(turn @ BODY_R_OPTICAL, place)


@dataclass
class Recorder:
    """Writes what a robot senses of boards, one world after another."""

    truth: Truth
    writer: ObservationWriter
    folder: Path
    seed: int = 0
    time_ns: int = 1_000_000_000
    camera_late_ns: int = 0
    written: int = 0
    _clean: tuple | None = None

    def mounts(self):
        """Write where the LiDAR is, and where the camera is claimed to be; the writer itself knows no heights."""
        lidar = self.truth.config.lidar
        if lidar is not None:
            pose = lidar.base_T_sensor()
            self.writer._mounted.add(LASER)
            self.writer._transform(
                "/tf_static", BASE, LASER, 0, tuple(pose[:3, 3]), quaternion_from_matrix(pose[:3, :3])
            )
        if self.truth.claimed is None:
            self.writer._mounted.add("camera_optical")

    def stand(self, world_T_board, frames=6, surroundings=True):
        """Record a board that stands still."""
        world = world_with(self.folder, self.truth.board, world_T_board, surroundings)
        simulator = Simulator(world, self.truth.config, seed=self.seed * 1000 + self.written)
        for _ in range(frames):
            self.add(simulator)
        self._clean = None

    def move(self, start, end, frames=20):
        """Record a board that is moved from one pose to another at an even speed."""
        turn = cv2.Rodrigues(end[:3, :3] @ start[:3, :3].T)[0]
        for k in range(frames):
            s = (k + 0.5) / frames
            pose = transform(cv2.Rodrigues(s * turn)[0] @ start[:3, :3], (1 - s) * start[:3, 3] + s * end[:3, 3])
            world = world_with(self.folder, self.truth.board, pose)
            self.add(Simulator(world, self.truth.config, seed=self.seed * 1000 + self.written))

    def add(self, simulator):
        """Write what is sensed now. A picture is rendered once for all that are the same but for their noise."""
        seen = simulator.observe(image=False)
        time = self.time_ns
        if self._clean is None or self._clean[0] is not simulator:
            self._clean = simulator, simulator.image()
        clean = self._clean[1]
        noise = np.random.default_rng([self.seed, self.written]).normal(0.0, NOISE, clean.rgb.shape)
        rgb = np.clip(np.round(clean.rgb + noise), 0, 255).astype(np.uint8)
        claimed = clean.base_T_camera if self.truth.claimed is None else self.truth.claimed
        picture = replace(clean, rgb=rgb, stamp_ns=time + self.camera_late_ns, base_T_camera=claimed)
        scan = None if seen.scan is None else replace(seen.scan, stamp_ns=time)
        cloud = None if seen.cloud is None else replace(seen.cloud, stamp_ns=time)
        self.writer.add(Observation(time, replace(seen.odometry, stamp_ns=time), scan, picture, cloud))
        self.time_ns += PERIOD_NS
        self.written += 1


def record(path: Path, truth: Truth, poses, *, frames=6, seed=0, moving=0, late_ns=0, storage="mcap", **options):
    """Record boards at these poses, one after another, and between them while they are carried for `moving` frames."""
    with open_writer(path, storage, **options) as writer:
        recorder = Recorder(truth, writer, path.parent / "boards", seed, camera_late_ns=late_ns)
        recorder.mounts()
        for k, pose in enumerate(poses):
            if moving and k:
                recorder.move(poses[k - 1], pose, moving)
            recorder.stand(pose, frames)
    return path
