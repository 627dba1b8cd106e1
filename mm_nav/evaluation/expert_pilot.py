"""The privileged upper bound: it knows the map, its own pose and what is meant, and drives a short and safe way there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from skimage.graph import MCP_Geometric

from mm_nav.command import Command, ErrorCode, Stage
from mm_nav.control.mppi import Mppi, ObstacleField
from mm_nav.evaluation.episodes import EpisodeContext
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.goal import Goal
from mm_nav.observation import Observation
from mm_nav.sim.episode import is_stopped, step_radii
from mm_nav.sim.expert import comfort_cost

# Nearer than what counts, metres: where its way leads, and where a step is done. The controller stops short of the end of
# a way, and map cells are not exact.
_AIM_M, _DONE_M = 0.3, 0.05
# Of the places where a step is done those count whose way, with all further steps, is at most so much longer than the best.
_SLACK_M = 0.3


class ExpertPilot:
    """Stands in place of the Navigator in an episode with words; drives with the same controller."""

    def __init__(self, context: EpisodeContext) -> None:
        self._simulator, self._task = context.simulator, context.task
        self._steps = context.episode.steps
        truth = self._task.truth
        self._cost = comfort_cost(truth)
        self._obstacles = truth.cell_to_world(np.argwhere(truth.occupied))
        self._controller = Mppi(self._simulator.config.robot)
        self._begin(0)

    def set_goal(self, goal: Goal) -> None:
        """Start. The goal's words are not read: the episode says what they mean."""
        if self._index > 0:
            self._begin(0)

    def step(self, observation: Observation) -> Command:
        """Return the command for one observation, of which only the stamp is used."""
        pose, last = self._simulator.pose, len(self._steps) - 1
        while self._index < last and self._done(pose):
            self._begin(self._index + 1)
        if self._index == last and self._done(pose):
            stage = Stage.SUCCEEDED if is_stopped(self._simulator) else Stage.APPROACHING
            return Command(observation.stamp_ns, Twist2D(), stage, message="reached the target")
        path = self._path(pose)
        if len(path) < 2:
            return Command(observation.stamp_ns, Twist2D(), Stage.FAILED, ErrorCode.NO_PATH, "no way to the target")
        field = ObstacleField(pose, self._obstacles)
        twist = self._controller.command(pose, self._simulator.twist, path, field)
        return Command(observation.stamp_ns, twist, Stage.APPROACHING)

    def _begin(self, index: int) -> None:
        self._index = index
        left = self._steps[index:]
        self._radii = step_radii(len(left))
        for aim in (_AIM_M, 0.0):
            places = self._places(left, [radius - aim for radius in self._radii])
            if len(places):
                break
        self._field = np.full(self._cost.shape, np.inf)
        if len(places):
            self._field, _ = MCP_Geometric(self._cost, fully_connected=True).find_costs(places)

    def _places(self, steps: Sequence[Sequence[str]], radii: Sequence[float]) -> npt.NDArray[np.int64]:
        """Return the cells (N, 2) at which to do the first of the steps, so that all of them together are short."""
        truth, pose = self._task.truth, self._simulator.pose
        here = np.zeros(truth.shape, bool)
        here[tuple(np.clip(truth.world_to_cell((pose.x, pose.y)), 0, np.array(truth.shape) - 1))] = True
        length = np.where(self._task.region(steps[0], radii[0]), truth.distance_field(here), np.inf)
        if len(steps) > 1:
            length = length + self._task.way_to_go(steps[1:], radii[1:])
        return np.argwhere(np.isfinite(length) & (length <= length.min() + _SLACK_M))

    def _done(self, pose: Pose2D) -> bool:
        return self._task.is_near(self._steps[self._index], pose.x, pose.y, self._radii[0] - _DONE_M)

    def _path(self, pose: Pose2D) -> npt.NDArray[np.float64]:
        """Return the way (N, 2) from a pose, world frame, metres; N = 0 where there is none."""
        cell = self._enter(pose)
        cells: list[tuple[int, int]] = []
        while cell is not None:
            cells.append(cell)
            row, column = max(cell[0] - 1, 0), max(cell[1] - 1, 0)
            window = self._field[row : row + 3, column : column + 3]
            at = np.unravel_index(int(np.argmin(window)), window.shape)
            following = (row + int(at[0]), column + int(at[1]))
            cell = following if self._field[following] < self._field[cell] else None
        if not cells:
            return np.empty((0, 2))
        return np.concatenate([[(pose.x, pose.y)], self._task.truth.cell_to_world(np.array(cells))])

    def _enter(self, pose: Pose2D) -> tuple[int, int] | None:
        """Return the cell nearest to a pose from which there is a way: the robot may stand a little off those."""
        row, column = (int(v) for v in self._task.truth.world_to_cell((pose.x, pose.y)))
        reach = 8
        r0, c0 = max(row - reach, 0), max(column - reach, 0)
        open_ = np.argwhere(np.isfinite(self._field[r0 : row + reach + 1, c0 : column + reach + 1]))
        if len(open_) == 0:
            return None
        cells = open_ + np.array([r0, c0])
        nearest = cells[int(np.argmin(np.hypot(cells[:, 0] - row, cells[:, 1] - column)))]
        return int(nearest[0]), int(nearest[1])
