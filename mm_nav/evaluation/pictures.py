"""Pictures as goals: where one would stand to take a picture of a thing."""

from __future__ import annotations

import math

import numpy as np

from mm_nav.geometry import Pose2D
from mm_nav.sim.episode import SUCCESS_RADIUS_M
from mm_nav.sim.objects import SceneObject
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.task_world import TaskWorld

_FARTHEST_M = 2.2
_TRIES = 12
_LEAST_SHARE = 0.03  # of the picture that must show the thing


def picture_pose(task: TaskWorld, item: SceneObject, rng: np.random.Generator) -> Pose2D | None:
    """Return a pose (world frame) that looks at an object from 1 to 2.2 m away, the best of some; None = it cannot be seen."""
    names = (item.name,)
    cells = np.argwhere(task.region(names, _FARTHEST_M) & ~task.region(names, SUCCESS_RADIUS_M))
    if len(cells) == 0:
        return None
    simulator = Simulator(task.scene, SimConfig())
    number = task.scene.model_names.index(item.name)
    best: tuple[float, Pose2D] | None = None
    for cell in cells[rng.permutation(len(cells))[:_TRIES]]:
        x, y = task.truth.cell_to_world(cell[None])[0]
        pose = Pose2D(float(x), float(y), math.atan2(item.center[1] - y, item.center[0] - x))
        simulator.reset(pose)
        share = float((simulator.render(64, 48).model_index == number).mean())
        if share >= _LEAST_SHARE and (best is None or share > best[0]):
            best = share, pose
    return None if best is None else best[1]
