"""The objects of a world that a sentence can name, read from its model names."""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.sim.catalogue import CATEGORIES, COLOURS
from mm_nav.sim.world import Model, World

# Words of other people's model names that mean one of our categories.
_ALIASES = {
    "couch": "sofa",
    "trash": "bin",
    "trashcan": "bin",
    "bucket": "bin",
    "drum": "barrel",
    "crate": "box",
    "carton": "box",
    "bookshelf": "shelf",
    "bookcase": "shelf",
    "rack": "shelf",
    "desk": "table",
    "cupboard": "cabinet",
    "wardrobe": "cabinet",
    "tree": "plant",
    "armchair": "chair",
    "gray": "grey",
}


@dataclass(frozen=True)
class SceneObject:
    """One thing that can be named.

    name: of the model. colour: "" when the name has none. center: (x, y) world, metres. size: (x, y, z) of the
    axis-aligned box around it, metres. footprint: (K, 2) convex polygon of its shadow on the floor, world, metres.
    """

    name: str
    category: str
    colour: str
    center: tuple[float, float]
    size: tuple[float, float, float]
    footprint: npt.NDArray[np.float64]

    def distance(self, x: float, y: float) -> float:
        """Return metres from (x, y) to the footprint's edge; 0 inside."""
        contour = self.footprint.astype(np.float32).reshape(-1, 1, 2)
        return max(0.0, -float(cv2.pointPolygonTest(contour, (float(x), float(y)), True)))


def name_parts(name: str) -> tuple[str, str]:
    """Return (category, colour) that a model name states; "" where it states none. "red_barrel_1" -> barrel, red."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())
    words = [_ALIASES.get(word, word) for word in words]
    category = next((word for word in reversed(words) if word in CATEGORIES), "")
    colour = next((word for word in words if word in COLOURS), "")
    return category, colour


def scene_objects(world: World) -> tuple[SceneObject, ...]:
    """Return the nameable objects of a world, in the order of its models; nested models count with their outermost."""
    groups: dict[str, list[Model]] = {}
    for model in world.models:
        groups.setdefault(model.name.split("::")[0], []).append(model)
    found = []
    for name, models in groups.items():
        category, colour = name_parts(name)
        shapes = [s for m in models for s in (*m.collisions, *m.visuals) if s.parts]
        if not category or not shapes:
            continue
        points = np.concatenate([shape.triangles().reshape(-1, 3) for shape in shapes])
        low, high = points.min(axis=0), points.max(axis=0)
        hull = cv2.convexHull(points[:, :2].astype(np.float32)).reshape(-1, 2).astype(np.float64)
        centre = (low + high) / 2
        size = (float(high[0] - low[0]), float(high[1] - low[1]), float(high[2] - low[2]))
        found.append(SceneObject(name, category, colour, (float(centre[0]), float(centre[1])), size, hull))
    return tuple(found)
