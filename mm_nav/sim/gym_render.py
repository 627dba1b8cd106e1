"""A picture of an environment: the robot's view beside a map with the robot and its target."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.sim.episode import Episode
from mm_nav.sim.simulator import Simulator
from mm_nav.sim.task_world import TaskWorld

_HEIGHT, _VIEW, _MAP = 240, 320, 240
_WALL, _FLOOR, _DONE = (60, 60, 60), (235, 235, 235), (170, 220, 170)
_ROBOT = (40, 90, 200)


def picture(
    simulator: Simulator, task: TaskWorld, episode: Episode, way_to_go: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """Return (240, 560, 3) uint8: the robot's view, and the map, north up. Green: where the next step is done."""
    view = simulator.render(_VIEW, _HEIGHT).rgb
    truth = task.truth
    image = np.full((*truth.shape, 3), _FLOOR, np.uint8)
    image[way_to_go <= 1e-6] = _DONE
    image[truth.occupied] = _WALL
    scale = _MAP / max(truth.shape)
    size = (max(round(truth.shape[1] * scale), 1), max(round(truth.shape[0] * scale), 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    pixels = scale / truth.resolution

    def at(x: float, y: float) -> tuple[int, int]:
        return round((x - truth.origin[0]) * pixels), round((y - truth.origin[1]) * pixels)

    pose = simulator.pose
    tip = (pose.x + 0.5 * math.cos(pose.yaw), pose.y + 0.5 * math.sin(pose.yaw))
    cv2.circle(small, at(pose.x, pose.y), max(2, round(0.18 * pixels)), _ROBOT, -1, cv2.LINE_AA)
    cv2.line(small, at(pose.x, pose.y), at(*tip), _ROBOT, 1, cv2.LINE_AA)
    if episode.pose is not None:
        cv2.drawMarker(small, at(episode.pose.x, episode.pose.y), (200, 40, 40), cv2.MARKER_CROSS, 9)
    canvas = np.full((_HEIGHT, _MAP, 3), 255, np.uint8)
    top, left = (_HEIGHT - small.shape[0]) // 2, (_MAP - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small[::-1]
    return np.concatenate([view, canvas], axis=1)
