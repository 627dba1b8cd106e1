"""A baseline without learning: colour segmentation of the picture, and sizes from LiDAR and camera geometry.

Regions of one named colour are measured in metres (LiDAR range times angle; height above the floor from the camera's pose)
and compared with the nominal size of each category. It answers as a PolicyOutput, so the same navigator drives it; it
proposes no waypoints. It needs picture and scan: without either nothing is in view.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mm_nav.command import Grounding, PolicyOutput
from mm_nav.evaluation.classical_regions import COLOUR_RANGES, Region, find_regions
from mm_nav.goal import PolicyGoal
from mm_nav.language.vocabulary import COLOUR_OF, GENERIC, category_words, singular
from mm_nav.observation import CameraImage, Observation
from mm_nav.runtime.preprocess import pixel_rays
from mm_nav.sensing.rectify import rectified

Span = tuple[float, float]
_BINS = 48


@dataclass(frozen=True)
class Shape:
    """What the coloured part of a category measures, each from - to. width, bottom, top: metres (heights above the floor).
    fill: share of its bounding box in the picture that it covers."""

    width: Span
    bottom: Span
    top: Span
    fill: Span


# Of the coloured part, as the catalogue of the generated worlds builds it: so the baseline knows the sizes for certain.
SHAPES: dict[str, Shape] = {
    "chair": Shape((0.38, 0.68), (0.0, 0.45), (0.80, 1.02), (0.25, 0.80)),
    "stool": Shape((0.30, 0.45), (0.0, 0.62), (0.46, 0.70), (0.30, 0.95)),
    "table": Shape((0.60, 1.60), (0.0, 0.74), (0.70, 0.80), (0.12, 0.95)),
    "sofa": Shape((0.75, 2.10), (0.0, 0.10), (0.56, 0.86), (0.60, 0.95)),
    "bed": Shape((0.85, 2.20), (0.38, 0.48), (0.46, 0.56), (0.60, 1.00)),
    "shelf": Shape((0.28, 1.20), (0.0, 0.10), (1.35, 1.95), (0.30, 0.90)),
    "cabinet": Shape((0.40, 1.20), (0.0, 0.06), (0.73, 1.13), (0.80, 1.00)),
    "barrel": Shape((0.48, 0.64), (0.0, 0.08), (0.75, 0.95), (0.80, 1.00)),
    "box": Shape((0.34, 0.92), (0.0, 0.05), (0.33, 0.62), (0.80, 1.00)),
    "cone": Shape((0.26, 0.60), (0.0, 0.10), (0.48, 0.78), (0.35, 0.72)),
    "bin": Shape((0.26, 0.44), (0.0, 0.05), (0.40, 0.62), (0.78, 1.00)),
    "plant": Shape((0.30, 0.46), (0.0, 0.05), (0.26, 0.44), (0.75, 1.00)),
    "lamp": Shape((0.32, 0.52), (1.22, 1.62), (1.45, 1.90), (0.70, 1.00)),
    "door": Shape((0.30, 0.98), (0.0, 0.06), (1.95, 2.15), (0.75, 1.00)),
    "pallet": Shape((0.95, 1.60), (0.0, 0.06), (0.11, 0.85), (0.40, 1.00)),
    "ladder": Shape((0.42, 0.95), (0.0, 0.10), (1.15, 1.95), (0.10, 0.60)),
    "suitcase": Shape((0.22, 0.56), (0.03, 0.10), (0.54, 0.78), (0.80, 1.00)),
    "ball": Shape((0.32, 0.66), (0.0, 0.06), (0.34, 0.66), (0.68, 0.90)),
    "bench": Shape((0.36, 1.60), (0.30, 0.45), (0.42, 0.52), (0.50, 1.00)),
}
# How far beyond its span a measure still may lie (one standard deviation): share of the width, metres of height.
_WIDTH_SIGMA, _HEIGHT_SIGMA, _FILL_SIGMA = 0.15, 0.07, 0.12
# Prior odds of the named category against each other one, for a region of the colour that was named, and without a colour.
_ODDS = {True: 20.0, False: 10.0}
_ANY_SCORE = 0.8
# Something else stands before a thing less often than not; legs let beams through, though.
_FARTHER = 0.8


class ClassicalPolicy:
    """Callable PolicySource."""

    def __call__(self, observation: Observation, goal: PolicyGoal) -> PolicyOutput:
        """Say where in the picture the named colour has the named size."""
        image = observation.image
        regions: list[Region] = []
        if image is not None and observation.scan is not None:
            regions = find_regions(rectified(image), image.intrinsics, image.base_T_camera, observation.scan)
        bearings = _bearings(image)
        target, *others = (_ground(phrase, regions, bearings) for phrase in (goal.phrase, *goal.others))
        near = float((target.bearing_probs * target.bearing_ranges).sum())
        return PolicyOutput(
            observation.stamp_ns,
            goal.id,
            target.bearings,
            target.bearing_probs,
            target.bearing_ranges,
            target.visible,
            float(target.visible > 0.5 and near < 0.9),
            np.zeros((0, 8, 2), np.float32),
            np.zeros(0, np.float32),
            None if image is None else target.bearing_probs[None],
            others=tuple(others),
        )


def words_of(phrase: str) -> tuple[str, str]:
    """Return the category and the colour that a noun phrase names; "" where it names none. "the crimson drum" -> barrel, red.

    A general word ("thing") is the category "thing".
    """
    words = re.findall(r"[a-z]+", phrase.lower())
    colour = next((COLOUR_OF[word] for word in words if word in COLOUR_OF), "")
    meant = {word: name for name, same in category_words().items() for word in same}
    for length in (3, 2, 1):
        for start in range(len(words) - length, -1, -1):
            said = " ".join(words[start : start + length])
            if said in meant or singular(said) in meant:
                return meant.get(said) or meant[singular(said)], colour
    return ("thing" if any(word in GENERIC for word in words) else ""), colour


def fit(region: Region, shape: Shape) -> float:
    """Return how well a region fits a shape, 0 to 1, at the best of the ranges at which it may be."""
    return max((_plausible(region, shape, rank) for rank in range(len(region.distances))), default=0.0)


def _plausible(region: Region, shape: Shape, rank: int) -> float:
    """Return the fit at one of the region's distances; one that is not the nearest is the less likely one."""
    return _fit_at(region, shape, region.distances[rank]) * (1.0 if rank == 0 else _FARTHER)


def _fit_at(region: Region, shape: Shape, distance: float) -> float:
    """Return the same at one distance from the camera, metres. What is cut off may be larger than it looks."""
    width, bottom, top = region.measures(distance)
    cut_left, cut_right, cut_top, cut_bottom = region.cut
    across = _beyond(
        math.log(width), (math.log(shape.width[0]), math.log(shape.width[1])), cut_left or cut_right, False
    )
    above = _beyond(top, shape.top, cut_top, False)
    below = _beyond(bottom, shape.bottom, False, cut_bottom)
    fill = 0.0 if any(region.cut) else _beyond(region.fill, shape.fill, False, False)
    parts = (across / _WIDTH_SIGMA, above / _HEIGHT_SIGMA, below / _HEIGHT_SIGMA, fill / _FILL_SIGMA)
    # Of a thing that is largely out of the picture little is known.
    known = 0.8 ** sum(region.cut)
    return known * math.exp(-0.5 * sum(value * value for value in parts))


def _beyond(value: float, span: Span, may_be_more: bool, may_be_less: bool) -> float:
    if value < span[0]:
        return 0.0 if may_be_more else span[0] - value
    return 0.0 if may_be_less or value <= span[1] else value - span[1]


def _score(region: Region, category: str, colour: str) -> float:
    """Return the probability that a region is what was named."""
    if colour and region.colour != colour:
        return 0.0
    if category == "thing" or not category:
        return _ANY_SCORE if colour else 0.0
    fits = {name: fit(region, shape) for name, shape in SHAPES.items()}
    # Bayes, each category's sizes being uniform over its spans: what fits a narrow span is the likelier that.
    densities = {name: value / _volume(SHAPES[name]) for name, value in fits.items()}
    own = _ODDS[bool(colour)] * densities[category]
    rivals = sum(densities.values()) - densities[category]
    return fits[category] * own / (own + rivals) if own > 0.0 else 0.0


def _volume(shape: Shape) -> float:
    """Return the size of a shape's spans, each widened by what a measure may be off."""
    width = math.log(shape.width[1] / shape.width[0]) + _WIDTH_SIGMA
    top, bottom = (high - low + _HEIGHT_SIGMA for low, high in (shape.top, shape.bottom))
    return width * top * bottom * (shape.fill[1] - shape.fill[0] + _FILL_SIGMA)


def _ground(phrase: str, regions: list[Region], bearings: npt.NDArray[np.float32]) -> Grounding:
    category, colour = words_of(phrase)
    weights, ranges = np.zeros(len(bearings)), np.full(len(bearings), 3.0, np.float32)
    visible = 0.0
    known = not category or category == "thing" or category in SHAPES
    if known and (not colour or colour in COLOUR_RANGES):
        for region in regions:
            score = _score(region, category, colour)
            if score < 0.02:
                continue
            low, high = region.azimuths
            inside = (bearings >= low) & (bearings <= high)
            if not inside.any():
                inside[np.argmin(np.abs(bearings - 0.5 * (low + high)))] = True
            better = inside & (score > weights)
            weights[better] = score
            shape = SHAPES.get(category)
            distances = region.distances
            rank = 0 if shape is None else max(range(len(distances)), key=lambda k: _plausible(region, shape, k))
            ranges[better] = region.range_of(distances[rank])
            visible = max(visible, score)
    weights = weights**2  # the likelier region is to hold most of the distribution, or two faint ones hide it
    total = float(weights.sum())
    probs = weights / total if total > 0 else np.full(len(bearings), 1.0 / len(bearings))
    return Grounding(bearings, probs.astype(np.float32), ranges, visible)


def _bearings(image: CameraImage | None) -> npt.NDArray[np.float32]:
    """Return what the bins (B,) look along, rad in base_link, from left to right in the picture."""
    if image is None:
        return np.linspace(0.75, -0.75, _BINS).astype(np.float32)
    height, width = image.rgb.shape[:2]
    columns = (np.arange(_BINS) + 0.5) * width / _BINS - 0.5
    rays = pixel_rays(columns, np.full(_BINS, height / 2 - 0.5), image.intrinsics, image.base_T_camera)
    return np.arctan2(rays[:, 1], rays[:, 0]).astype(np.float32)
