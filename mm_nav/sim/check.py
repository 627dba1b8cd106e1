"""`mm-nav world check`: what was loaded from a world, what was not, and two pictures of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from mm_nav.errors import WorldError
from mm_nav.sim.check_views import camera_view, top_view
from mm_nav.sim.materials import Image
from mm_nav.sim.scene import Scene
from mm_nav.sim.world import load_world

_TOP_SIDE = 900  # pixels of the top view's longer side


@dataclass(frozen=True)
class WorldReport:
    """What a world file gave. loaded: visuals and collisions that were loaded. missing, unsupported: each name once.
    pictures: files that were written (top view, camera view)."""

    path: str
    name: str
    loaded: int
    models: int
    visuals: int
    collisions: int
    triangles: int
    textures: int
    lights: int
    missing: tuple[str, ...]
    unsupported: tuple[str, ...]
    pictures: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """Return the report as plain JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def check_world(
    path: str | Path,
    search_paths: Sequence[Path] = (),
    out_dir: Path | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> WorldReport:
    """Load a world and describe it; with `out_dir`, write <name>_top.png and <name>_camera.png there.

    progress: is told what is being done. Raises WorldError when the world cannot be loaded or the pictures cannot be
    written.
    """
    progress("loading")
    world = load_world(path, search_paths)
    progress(f"preparing {len(world.models)} models")
    scene = Scene(world)
    pictures: list[str] = []
    if out_dir is not None:
        stem = Path(path).stem
        progress("drawing the top view")
        _write_png(target := Path(out_dir) / f"{stem}_top.png", _halved(top_view(scene, 2 * _TOP_SIDE)))
        pictures.append(str(target))
        progress("looking for a good camera view")
        _write_png(target := Path(out_dir) / f"{stem}_camera.png", camera_view(scene))
        pictures.append(str(target))
    return WorldReport(
        str(path),
        world.name,
        world.geometry_count,
        len(world.models),
        sum(len(model.visuals) for model in world.models),
        sum(len(model.collisions) for model in world.models),
        len(scene.layer.surface.triangles),
        scene.atlas.count,
        len(world.lights),
        world.missing,
        world.unsupported,
        tuple(pictures),
    )


def _halved(image: Image) -> Image:
    height, width = (max(side // 2, 1) for side in image.shape[:2])
    smaller = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(smaller, np.uint8).reshape(height, width, 3)


def _write_png(path: Path, image: Image) -> None:
    encoded, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes() if encoded else b"")
    except OSError as error:
        raise WorldError(
            f"{path}: the picture cannot be written ({error.strerror}): give a folder you may write to"
        ) from error
