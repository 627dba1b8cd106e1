"""The objects of a world that a sentence can name, read from its model names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.sim.catalogue import COLOURS
from mm_nav.sim.catalogue_extra import ALL_CATEGORIES
from mm_nav.sim.floor_plan import Wall
from mm_nav.sim.sdf_geometry import Box
from mm_nav.sim.textures import TEXTURES
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
# Words of model names that mean one of our materials.
_MATERIAL_WORDS = {
    **{name: name for name in TEXTURES},
    "wooden": "wood", "oak": "wood", "pine": "wood", "metallic": "metal", "steel": "metal", "aluminium": "metal",
    "iron": "metal", "cloth": "fabric", "carton": "cardboard",
}  # fmt: skip
# Two things of a category differ clearly in size when one is this much larger, as a length.
CLEAR_RATIO = 1.2
# Of these the height is what one sees; of others the length of a cube of the same volume.
_UPRIGHT = ("lamp", "shelf", "plant", "cabinet", "ladder", "stool")


@dataclass(frozen=True)
class SceneObject:
    """One thing that can be named.

    name: of the model. colour: "" when the name has none. center: (x, y) world, metres. size: (x, y, z) of the
    axis-aligned box around it, metres. footprint: (K, 2) convex polygon of its shadow on the floor, world, metres.
    size_word: "small", "large" or "tall" among others of its category, "" where there is no clear difference. material: what
    its first part is made of, one of mm_nav.sim.textures.TEXTURES; "" = not known.
    """

    name: str
    category: str
    colour: str
    center: tuple[float, float]
    size: tuple[float, float, float]
    footprint: npt.NDArray[np.float64]
    size_word: str = ""
    material: str = ""

    def distance(self, x: float, y: float) -> float:
        """Return metres from (x, y) to the footprint's edge; 0 inside."""
        contour = self.footprint.astype(np.float32).reshape(-1, 1, 2)
        return max(0.0, -float(cv2.pointPolygonTest(contour, (float(x), float(y)), True)))


def name_parts(name: str) -> tuple[str, str]:
    """Return (category, colour) that a model name states; "" where it states none. "red_barrel_1" -> barrel, red."""
    words = _words(re.sub(r"pallet[ _-]?jack|pallet[ _-]?truck", "", name, flags=re.IGNORECASE))
    words = [_ALIASES.get(word, word) for word in words]
    category = next((word for word in reversed(words) if word in ALL_CATEGORIES), "")
    colour = next((word for word in words if word in COLOURS), "")
    return category, colour


def name_material(name: str) -> str:
    """Return the material that a name states, "" where it states none. "part_0_wood_visual", "WoodenChair" -> wood."""
    words = _words(name)
    return next((_MATERIAL_WORDS[word] for word in words if word in _MATERIAL_WORDS), "")


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())


def scene_objects(world: World) -> tuple[SceneObject, ...]:
    """Return the nameable objects of a world, in the order of its models; nested models count with their outermost."""
    groups: dict[str, list[Model]] = {}
    for model in world.models:
        groups.setdefault(model.name.split("::")[0], []).append(model)
    found, shadows = [], []
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
        seen = [name_material(shape.name) for m in models for shape in m.visuals]
        material = next((word for word in seen if word), "") or name_material(name)
        found.append(
            SceneObject(name, category, colour, (float(centre[0]), float(centre[1])), size, hull, material=material)
        )
        shadows.append(points)
    return with_size_words(found, shadows)


def scene_walls(world: World) -> tuple[Wall, ...]:
    """Return the walls of a world whose models' names begin with "wall": their boxes' centre lines, where these run along
    x or y."""
    walls = []
    for model in world.models:
        if not model.name.lower().startswith("wall"):
            continue
        for shape in model.collisions:
            if not isinstance(shape.geometry, Box):
                continue
            points = shape.triangles().reshape(-1, 3)[:, :2]
            low, high = points.min(axis=0), points.max(axis=0)
            if abs(float(np.prod(high - low)) - shape.geometry.size[0] * shape.geometry.size[1]) > 1e-3:
                continue  # stands at an angle
            x, y = (float(v) for v in (low + high) / 2)
            if high[1] - low[1] >= high[0] - low[0]:
                walls.append(Wall(x, float(low[1]), x, float(high[1])))
            else:
                walls.append(Wall(float(low[0]), y, float(high[0]), y))
    return tuple(walls)


def with_size_words(
    objects: Sequence[SceneObject], points: Sequence[npt.NDArray[np.float64]]
) -> tuple[SceneObject, ...]:
    """Return the objects with their size words. points: per object (N, 3), metres, corners of all its shapes.

    Within a category, sizes are split at their widest gap; only where that gap is a factor of CLEAR_RATIO or more do
    those above it get "large" ("tall" for upright things) and those below it "small".
    """
    words = [""] * len(objects)
    for category in dict.fromkeys(item.category for item in objects):
        members = [k for k, item in enumerate(objects) if item.category == category]
        lengths = np.array([_length(category, points[k]) for k in members])
        if len(members) < 2 or lengths.min() <= 0.0:
            continue
        ordered = np.sort(lengths)
        ratios = ordered[1:] / ordered[:-1]
        widest = int(np.argmax(ratios))
        if ratios[widest] < CLEAR_RATIO:
            continue
        for k, length in zip(members, lengths, strict=True):
            above = "tall" if category in _UPRIGHT else "large"
            words[k] = above if length > ordered[widest] else "small"
    return tuple(replace(item, size_word=word) if word else item for item, word in zip(objects, words, strict=True))


def _length(category: str, points: npt.NDArray[np.float64]) -> float:
    height = float(np.ptp(points[:, 2]))
    if category in _UPRIGHT:
        return height
    hull = cv2.convexHull(points[:, :2].astype(np.float32))
    return float(max(cv2.contourArea(hull) * height, 0.0) ** (1 / 3))
