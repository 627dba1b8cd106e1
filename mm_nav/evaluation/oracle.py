"""Perfect perception: a policy source that reads the simulator's truth, as the upper bound in evaluations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from mm_nav.command import Grounding, PolicyOutput
from mm_nav.goal import PolicyGoal
from mm_nav.observation import Observation
from mm_nav.runtime.preprocess import pixel_rays
from mm_nav.sim.camera import RenderResult
from mm_nav.sim.simulator import Simulator

_BINS = 48
_MIN_PIXELS = 8
_WIDTH, _HEIGHT = 96, 72


class OraclePolicy:
    """Callable PolicySource. targets: names of the models that satisfy each phrase. pictured: of those that the goal's picture
    shows, where a goal is only a picture."""

    image_goals = True

    def __init__(
        self, simulator: Simulator, targets: Mapping[str, Sequence[str]], pictured: Sequence[str] = ()
    ) -> None:
        self._simulator = simulator
        names = simulator.scene.model_names

        def numbers(wanted: Sequence[str]) -> npt.NDArray[np.int64]:
            return np.array([i for i, name in enumerate(names) if name.split("::")[0] in wanted], np.int64)

        self._numbers = {phrase: numbers(wanted) for phrase, wanted in targets.items()}
        self._pictured, self._nothing = numbers(pictured), numbers(())

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput:
        """Say where the pixels of the models are that each phrase wants."""
        camera = self._simulator.config.camera
        seen = self._simulator.render(_WIDTH, _HEIGHT) if camera is not None and observation.image is not None else None
        asked = [self._numbers.get(phrase, self._nothing) for phrase in (goal.phrase, *goal.others)]
        if goal.image is not None and not goal.phrase:
            asked[0] = self._pictured
        target, *others = (self._ground(wanted, seen) for wanted in asked)
        probs = target.bearing_probs
        near = float(target.bearing_ranges[probs > 0].min()) if target.visible else math.inf
        return PolicyOutput(
            observation.stamp_ns,
            goal.id,
            target.bearings,
            probs,
            target.bearing_ranges,
            target.visible,
            float(target.visible > 0 and near < 0.9),
            np.zeros((0, 8, 2), np.float32),
            np.zeros(0, np.float32),
            probs[None] if observation.image is not None else None,
            others=tuple(others),
        )

    def _ground(self, wanted: npt.NDArray[np.int64], seen: RenderResult | None) -> Grounding:
        camera = self._simulator.config.camera
        fov = camera.horizontal_fov if camera is not None else 1.5
        focal = _BINS / 2 / math.tan(fov / 2)
        bearings = np.arctan2(_BINS / 2 - 0.5 - np.arange(_BINS), focal).astype(np.float32)
        probs, ranges = np.full(_BINS, 1.0 / _BINS, np.float32), np.full(_BINS, 3.0, np.float32)
        visible = 0.0
        if camera is not None and seen is not None and len(wanted):
            rows, columns = np.nonzero(np.isin(seen.model_index, wanted))
            if len(rows) >= _MIN_PIXELS:
                visible = 0.99
                small = focal * _WIDTH / _BINS
                intrinsics = np.array([[small, 0, _WIDTH / 2 - 0.5], [0, small, _HEIGHT / 2 - 0.5], [0, 0, 1.0]])
                base_T_camera = camera.base_T_camera()
                rays = pixel_rays(columns.astype(float), rows.astype(float), intrinsics, base_T_camera)
                along = rays @ base_T_camera[:3, 2]
                points = base_T_camera[:3, 3] + rays * (seen.depth[rows, columns] / along)[:, None]
                bins = columns * _BINS // _WIDTH
                counts = np.bincount(bins, minlength=_BINS)
                probs = (counts / counts.sum()).astype(np.float32)
                planar = np.hypot(points[:, 0], points[:, 1])
                nearest = np.full(_BINS, np.inf)
                np.minimum.at(nearest, bins, planar)
                ranges = np.where(np.isfinite(nearest), nearest, 3.0).astype(np.float32)
        return Grounding(bearings, probs, ranges, visible)
