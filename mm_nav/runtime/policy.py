"""The policy at run time: observation and goal in, PolicyOutput out, through ONNX Runtime."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.command import Grounding, PolicyOutput
from mm_nav.errors import ModelError
from mm_nav.goal import PolicyGoal
from mm_nav.language.encoder import TextEncoder
from mm_nav.language.knowledge import Knowledge
from mm_nav.observation import Observation
from mm_nav.resources import resource_path
from mm_nav.runtime.manifest import load_manifest
from mm_nav.runtime.preprocess import Preprocessor
from mm_nav.runtime.session import open_session, resolve_providers

# Something that says what the policy thinks of an observation; None when no answer came in time.
PolicySource = Callable[[Observation, PolicyGoal], PolicyOutput | None]

INPUTS = ("image", "image_present", "rays", "ranges", "ranges_valid", "language", "language_mask", "pose")
_GROUNDING = ("bearing_probs", "bearing_ranges", "visible")
OUTPUTS = ("bearing_probs", "bearing_ranges", "heatmap", "visible", "arrived", "waypoints", "waypoint_probs")


def default_model() -> Path:
    """Return the path of the model that is committed with the stack."""
    return resource_path("models/small.onnx")


class OnnxPolicy:
    """Callable PolicySource on an exported model.

    provider: "auto", "tensorrt", "cuda" or "cpu". Raises ModelError when the model or its manifest is missing, broken
    or made for other inputs, ConfigError for an unknown provider.
    """

    def __init__(self, model: Path | None = None, provider: str = "auto", threads: int = 1) -> None:
        self.path = model or default_model()
        self.manifest, self.config = load_manifest(self.path)
        self._session = open_session(self.path, resolve_providers(provider), threads)
        names = tuple(item.name for item in self._session.get_inputs())
        if set(names) != set(INPUTS):
            raise ModelError(f"{self.path} reads {sorted(names)}, a policy reads {sorted(INPUTS)}: export it again")
        self._preprocess = Preprocessor(self.config)
        self._encoder = TextEncoder(self.config.language_tokens)
        # What the model can name; the encoder is shared, since a goal's words are looked at only once.
        self.knowledge = Knowledge(self.manifest.categories, lambda: self._encoder)

    def prepare(self, goal: PolicyGoal) -> None:
        """Encode the goal's phrases now, so that the first step does not pay for it."""
        for phrase in (goal.phrase, *goal.others):
            self._encoder.encode(phrase)

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput:
        """Run the network, once per phrase of the goal."""
        started = time.perf_counter()
        image, present, geometry = self._preprocess.image(observation.image)
        ranges, valid = self._preprocess.scan(observation.scan)
        language, mask = self._encoder.encode(goal.phrase)
        feed = {
            "image": image,
            "image_present": present,
            "rays": geometry.rays[None],
            "ranges": ranges,
            "ranges_valid": valid,
            "language": language[None],
            "language_mask": mask[None],
            "pose": self._preprocess.pose(goal.pose, observation.odometry.pose),
        }
        out = dict(zip(OUTPUTS, self._session.run(list(OUTPUTS), feed), strict=True))
        camera = float(present[0, 0]) > 0
        others = tuple(self._ground(feed, phrase, geometry.column_bearings, camera) for phrase in goal.others)
        seen = camera and bool(mask.any())
        return PolicyOutput(
            stamp_ns=observation.stamp_ns,
            goal_id=goal.id,
            bearings=geometry.column_bearings,
            bearing_probs=np.asarray(out["bearing_probs"][0]),
            bearing_ranges=np.asarray(out["bearing_ranges"][0]),
            # Without a picture or without words nothing can be in view, whatever the network says.
            visible=float(out["visible"][0]) if seen else 0.0,
            arrived=float(out["arrived"][0]) if seen else 0.0,
            waypoints=np.asarray(out["waypoints"][0]),
            waypoint_probs=np.asarray(out["waypoint_probs"][0]),
            heatmap=np.asarray(out["heatmap"][0]) if camera else None,
            inference_ms=1e3 * (time.perf_counter() - started),
            others=others,
        )

    def _ground(self, feed: dict[str, Any], phrase: str, bearings: npt.NDArray[np.float32], camera: bool) -> Grounding:
        """Ask where another phrase's thing is in the same view."""
        language, mask = self._encoder.encode(phrase)
        asked = {**feed, "language": language[None], "language_mask": mask[None]}
        probs, ranges, visible = self._session.run(list(_GROUNDING), asked)
        seen = camera and bool(mask.any())
        return Grounding(bearings, np.asarray(probs[0]), np.asarray(ranges[0]), float(visible[0]) if seen else 0.0)
