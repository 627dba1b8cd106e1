"""How unlike its training a frame is: statistics that lie beside the model say how far out what it is fed now is.

A score near 0.5 is an ordinary training frame; 1.0 is as far out as one of a hundred training frames that were kept back. It says
that the network works outside of what it was taught, not that its answer is wrong.

Each descriptor (see `runtime.descriptors`) is brought to a standard normal one by quantiles of the training frames, and goes on in
a straight line beyond them. A frame is as far out as the larger of two distances says: its farthest descriptor, and the
Mahalanobis distance (P. C. Mahalanobis, 1936) of all together, which also sees what is usual by itself but not in company, such as
coarse texture without fine (blur). Fitted by `mm-nav familiarity fit` (see `learning.familiarity_fit`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.errors import ModelError
from mm_nav.observation import Observation
from mm_nav.policy.config import PolicyConfig
from mm_nav.runtime.descriptors import (
    IMAGE,
    SCAN,
    VIEW,
    Descriptor,
    image_descriptors,
    scan_descriptors,
    view_descriptors,
)
from mm_nav.runtime.manifest import Manifest, load_manifest
from mm_nav.runtime.preprocess import Preprocessor
from mm_nav.sensing.deskew import all_at_once

FORMAT = 1
MOST = 10.0
"""No score is above this: farther out means nothing more."""

DESCRIPTORS: Mapping[str, tuple[Descriptor, ...]] = {"image": IMAGE + VIEW, "scan": SCAN}

# Quantiles of a standard normal distribution: the knots' places on the other side.
KNOT_LEVELS = (0.002, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.998)
KNOT_Z = (-2.8782, -2.3263, -1.6449, -0.6745, 0.0, 0.6745, 1.6449, 2.3263, 2.8782)

_SENSORS = {"image": "camera", "scan": "LiDAR"}
_REASONS = 2  # of each sensor that are named
_ALSO = 0.6  # of the farthest descriptor's distance, that another one is named too

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Strangeness:
    """How far out a frame is. image, scan: 0 to MOST, 1 = as far as the 99th percentile of training frames that were kept back;
    nan = there is none. why: in plain words what is unlike the training, "" when no score is above 1."""

    image: float
    scan: float
    why: str


@dataclass(frozen=True)
class Statistics:
    """What the training frames of one sensor are like, n descriptors.

    knots: (n, len(KNOT_Z)) rising, the descriptors' own units, at KNOT_LEVELS. mean (n,) and precision (n, n), the inverse of
    the covariance, after they are brought to normal. far_alone, far_together: the two distances that count as 1.
    """

    knots: Floats
    mean: Floats
    precision: Floats
    far_alone: float = 1.0
    far_together: float = 1.0

    def normal(self, values: Floats) -> Floats:
        """Return descriptors (n,) or (frames, n) brought to standard normal ones; 0 for what is not known (nan)."""
        return to_normal(values, self.knots)

    def distances(self, z: Floats) -> tuple[Floats, Floats]:
        """Return for normal descriptors (frames, n) the largest one and the Mahalanobis distance, (frames,) each."""
        off = z - self.mean
        squared = np.einsum("fi,ij,fj->f", off, self.precision, off)
        return np.abs(z).max(axis=1), np.sqrt(np.maximum(squared, 0.0))

    def score(self, z: Floats) -> Floats:
        """Return how far out frames are (frames,), 0 to MOST, for normal descriptors (frames, n)."""
        alone, together = self.distances(z)
        return np.minimum(np.maximum(alone / self.far_alone, together / self.far_together), MOST)

    def reasons(self, z: Floats, descriptors: Sequence[Descriptor]) -> list[str]:
        """Return what is farthest out of one frame's normal descriptors (n,), the worst first."""
        far, unit, suffix = z, self.far_alone, ""
        if float(np.abs(z).max()) < self.far_alone:
            # Nothing is unusual by itself: what is, given all the others? Its distance to what they let expect.
            far = self.precision @ (z - self.mean) / np.sqrt(np.diag(self.precision))
            unit, suffix = 0.0, ", given the rest"
        found: list[str] = []
        for index in np.argsort(-np.abs(far)):
            text = descriptors[index].high if far[index] > 0 else descriptors[index].low
            if abs(far[index]) < max(_ALSO * float(np.abs(far).max()), unit) or len(found) == _REASONS:
                break
            if text and text not in found:
                found.append(text)
        return [text + suffix for text in found] or ["an unusual combination"]


def to_normal(values: Floats, knots: Floats) -> Floats:
    """Return values (…, n) as those of standard normal distributions, by knots (n, len(KNOT_Z)); nan becomes 0.

    Beyond the knots it goes on as between the outermost and the third from there, so that one value seldom seen does not set
    the slope.
    """
    z = np.array(KNOT_Z)
    values = np.asarray(values, np.float64)
    # The knot on the left of each value; outside, the outermost piece goes on.
    left = np.clip((values[..., None] >= knots).sum(axis=-1) - 1, 0, len(z) - 2)
    rows = np.arange(len(knots))
    x0, x1 = knots[rows, left], knots[rows, left + 1]
    inside = z[left] + (values - x0) / (x1 - x0) * (z[left + 1] - z[left])
    low = z[0] + (values - knots[:, 0]) * (z[2] - z[0]) / (knots[:, 2] - knots[:, 0])
    high = z[-1] + (values - knots[:, -1]) * (z[-1] - z[-3]) / (knots[:, -1] - knots[:, -3])
    found = np.where(values < knots[:, 0], low, np.where(values > knots[:, -1], high, inside))
    return np.asarray(np.nan_to_num(found, nan=0.0))


def familiarity_path(model: Path) -> Path:
    """Return where the statistics of a model lie: tiny.onnx -> tiny_familiarity.json."""
    return model.with_name(f"{model.stem}_familiarity.json")


@dataclass(frozen=True)
class Familiarity:
    """Scores frames against what a model was trained on. Not for several threads at once.

    model_sha256: of the model's file. preprocessing: fingerprint of the inputs that the statistics are of. provenance: which
    frames they were taken from.
    """

    config: PolicyConfig
    model_sha256: str
    preprocessing: str
    image: Statistics
    scan: Statistics
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_preprocess", Preprocessor(self.config))

    @classmethod
    def load(cls, model: Path) -> Familiarity:
        """Return the statistics that lie beside a model; an eight-bit copy has those of the model that it was made of.

        Raises ModelError when there are none, they are broken, or they are of another model or other inputs.
        """
        manifest, config = load_manifest(model)
        path = _path_of(model, manifest)
        if path is None:
            raise ModelError(
                f"{model} has no {familiarity_path(model).name} beside it: make it with `mm-nav familiarity fit --model {model}`"
            )
        again = f"make it again with `mm-nav familiarity fit --model {model}`"
        try:
            found = _read(path, config)
        except (ValueError, TypeError, KeyError, OSError) as error:
            raise ModelError(f"{path} cannot be read ({error}): {again}") from error
        if found.preprocessing != manifest.preprocessing:
            raise ModelError(
                f"{path} is of other inputs ({found.preprocessing}, {model.name} reads {manifest.preprocessing}): {again}"
            )
        if found.model_sha256 not in (manifest.model_sha256, manifest.training.get("quantized_from")):
            raise ModelError(f"{path} was made for another model file than {model.name} (its hash differs): {again}")
        return found

    @classmethod
    def beside(cls, model: Path) -> Familiarity | None:
        """Return what `load` returns, or None for a model without statistics. Raises ModelError when they are broken."""
        manifest, _ = load_manifest(model)
        return None if _path_of(model, manifest) is None else cls.load(model)

    def strangeness(self, observation: Observation, preprocess: Preprocessor | None = None) -> Strangeness:
        """Return how far out an observation is. preprocess: what is to make the network's inputs; None = one of its own."""
        if preprocess is None:
            preprocess = getattr(self, "_preprocess")  # noqa: B009 (frozen, and no field)
        observation = all_at_once(observation)
        image, _, geometry = preprocess.image(observation.image)
        ranges, valid = preprocess.scan(observation.scan)
        return self.of_inputs(
            image if observation.image is not None else None,
            geometry.rays,
            ranges if observation.scan is not None else None,
            valid,
        )

    def of_inputs(
        self, image: Float32 | None, rays: Float32, ranges: Float32 | None, ranges_valid: Float32
    ) -> Strangeness:
        """Return the same of what a `Preprocessor` made: image (1, 3, H, W) in [0, 1], rays (P, 3), ranges and ranges_valid
        (1, bins). None for image or ranges = that sensor is not there."""
        c, z = self.config, {}
        if image is not None:
            rgb = np.asarray(cv2.merge([cv2.convertScaleAbs(channel, alpha=255.0) for channel in image[0]]), np.uint8)
            z["image"] = self.image.normal(image_values(rgb, rays, c))
        if ranges is not None:
            z["scan"] = self.scan.normal(scan_descriptors(ranges[0], ranges_valid[0], c.max_range_m))
        score, why = {"image": math.nan, "scan": math.nan}, []
        for name, values in z.items():
            statistics = self.image if name == "image" else self.scan
            score[name] = float(statistics.score(values[None])[0])
            if score[name] > 1.0:
                why.append(f"{_SENSORS[name]}: {', '.join(statistics.reasons(values, DESCRIPTORS[name]))}")
        return Strangeness(score["image"], score["scan"], "; ".join(why))

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        data = {
            "format": FORMAT,
            "model_sha256": self.model_sha256,
            "preprocessing": self.preprocessing,
            "provenance": dict(self.provenance),
            **{name: _plain(getattr(self, name), DESCRIPTORS[name]) for name in DESCRIPTORS},
        }
        part = path.with_suffix(path.suffix + ".part")
        part.write_text(json.dumps(data) + "\n")
        part.replace(path)


def image_values(rgb: npt.NDArray[np.uint8], rays: Float32, config: PolicyConfig) -> Floats:
    """Return the descriptors of a picture (H, W, 3) of the network's size and of where its patches look (P, 3)."""
    return np.concatenate([image_descriptors(rgb), view_descriptors(rays, config.token_columns)])


def _path_of(model: Path, manifest: Manifest) -> Path | None:
    own = familiarity_path(model)
    if own.is_file():
        return own
    source = manifest.training.get("quantized_from")
    for path in sorted(model.parent.glob("*_familiarity.json")) if source else ():
        try:
            if json.loads(path.read_text()).get("model_sha256") == source:
                return path
        except (ValueError, AttributeError, OSError):
            continue  # another model's; it will be told of there
    return None


def _plain(statistics: Statistics, descriptors: Sequence[Descriptor]) -> dict[str, Any]:
    """Numbers with six digits: they are no more exact, and the file stays small."""
    numbers = {
        item.name: [float(f"{v:.6g}") for v in np.ravel(getattr(statistics, item.name))] for item in fields(statistics)
    }
    return {"descriptors": [item.name for item in descriptors], **numbers}


def _read(path: Path, config: PolicyConfig) -> Familiarity:
    data = json.loads(path.read_text())
    if data["format"] != FORMAT:
        raise ValueError(f"format {data['format']}, this version reads {FORMAT}")
    parts: dict[str, Statistics] = {}
    for name, descriptors in DESCRIPTORS.items():
        part, n = data[name], len(descriptors)
        if part["descriptors"] != [item.name for item in descriptors]:
            raise ValueError(f"its {name} descriptors are not those of this version")
        shapes = {"knots": (n, len(KNOT_Z)), "mean": (n,), "precision": (n, n)}
        knots, mean, precision = (np.array(part[key], np.float64).reshape(shape) for key, shape in shapes.items())
        alone, together = (float(part[key][0]) for key in ("far_alone", "far_together"))
        if not all(np.isfinite(a).all() for a in (knots, mean, precision)) or (np.diff(knots) <= 0).any():
            raise ValueError(f"its {name} statistics are not finite, or their knots do not rise")
        if not (alone > 0.0 and together > 0.0 and (np.diag(precision) > 0.0).all()):
            raise ValueError(f"its {name} distances are not above 0")
        parts[name] = Statistics(knots, mean, precision, alone, together)
    return Familiarity(
        config, str(data["model_sha256"]), str(data["preprocessing"]), parts["image"], parts["scan"], data["provenance"]
    )
