"""Small tileable pictures of materials, drawn by arithmetic, and the words for those materials.

Pictures are grey: what they show is multiplied by the surface's own colour. They lie in worlds/textures/ and are made
anew by `python -m mm_nav.sim.textures`.
"""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.resources import resource_path

Grey = npt.NDArray[np.float64]

SIDE = 256
FOLDER = "textures"
_SEED = 7
_LEVELS = 40  # grey levels kept, so that the files stay small


@dataclass(frozen=True)
class Texture:
    """A material's picture. draw(rng) -> (SIDE, SIDE) in [0, 1], the same at opposite edges. width, height: metres that
    one copy covers on walls and floors. roughness: of the surface in Gazebo (0 mirror, 1 matt)."""

    draw: Callable[[np.random.Generator], Grey]
    width: float = 2.0
    height: float = 2.0
    roughness: float = 0.9


def draw_texture(name: str) -> npt.NDArray[np.uint8]:
    """Return the picture of a material, (256, 256) uint8 grey; the same every time."""
    rng = np.random.default_rng([_SEED, *name.encode()])
    image = np.clip(TEXTURES[name].draw(rng), 0.0, 1.0)
    return np.asarray(np.round(np.round(image * _LEVELS) / _LEVELS * 255.0), np.uint8)


def write_textures(folder: Path) -> None:
    """Draw all pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in TEXTURES:
        # Three channels: Gazebo's renderer may show a picture of one channel in red.
        image = cv2.cvtColor(draw_texture(name), cv2.COLOR_GRAY2BGR)
        cv2.imwrite(str(folder / f"{name}.png"), image, [cv2.IMWRITE_PNG_COMPRESSION, 9])


def copy_textures(names: Iterable[str], folder: Path) -> None:
    """Put the pictures that come with the stack into `folder`/textures, where a world file beside it looks for them.

    Raises ConfigError when that folder cannot be written.
    """
    source, target = resource_path(f"worlds/{FOLDER}"), folder / FOLDER
    if target.exists() and target.samefile(source):
        return
    try:
        target.mkdir(exist_ok=True)
        for name in names:
            shutil.copyfile(source / f"{name}.png", target / f"{name}.png")
    except OSError as error:
        raise ConfigError(
            f"{target}: the world's textures cannot be written ({error.strerror}): give a folder you may write to"
        ) from error


def _noise(rng: np.random.Generator, across: float, up: float) -> Grey:
    """Return smooth periodic noise of mean 0 and deviation 1; across, up: size of its blobs, pixels."""
    white = np.fft.rfft2(rng.standard_normal((SIDE, SIDE)))
    fy, fx = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]
    smooth = np.fft.irfft2(white * np.exp(-2.0 * ((fx * across) ** 2 + (fy * up) ** 2)), s=(SIDE, SIDE))
    smooth -= smooth.mean()
    return np.asarray(smooth / max(float(smooth.std()), 1e-9))


def _grid() -> tuple[Grey, Grey]:
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    return x / SIDE, y / SIDE


def _grain(rng: np.random.Generator, rings: int) -> Grey:
    """Wood grain that runs up the picture."""
    x, _ = _grid()
    waves = np.sin(2 * np.pi * (rings * x + 0.35 * _noise(rng, 60, 160)))
    return np.asarray(0.06 * waves + 0.05 * _noise(rng, 2, 50) + 0.02 * _noise(rng, 1, 12))


def _wood(rng: np.random.Generator) -> Grey:
    return 0.88 + _grain(rng, 7)


def _planks(rng: np.random.Generator) -> Grey:
    """Floor boards along the picture's height: 10 to 2 m, each of its own shade, with ends at random places."""
    image = np.empty((SIDE, SIDE))
    grain = _grain(rng, 40)
    edges = np.round(np.linspace(0, SIDE, 11)).astype(int)
    rows = np.arange(SIDE)
    for low, high in itertools.pairwise(edges):
        first = int(rng.integers(SIDE))
        second = first + int(rng.integers(90, 160))
        board = ((rows - first) % SIDE) < (second - first)
        shade = np.where(board, rng.uniform(0.78, 0.95), rng.uniform(0.78, 0.95))[:, None]
        image[:, low:high] = shade + 0.8 * np.roll(grain, int(rng.integers(SIDE)), axis=0)[:, low:high]
        image[:, low] = 0.45
        image[[first % SIDE, second % SIDE], low:high] = 0.5
    return image


def _carpet(rng: np.random.Generator) -> Grey:
    return 0.82 + 0.10 * _noise(rng, 1.2, 1.2) + 0.03 * _noise(rng, 24, 24)


def _fabric(rng: np.random.Generator) -> Grey:
    x, y = _grid()
    weave = np.sin(2 * np.pi * 42 * x) * np.sin(2 * np.pi * 42 * y)
    return np.asarray(0.86 + 0.07 * weave + 0.04 * _noise(rng, 2, 2) + 0.03 * _noise(rng, 40, 40))


def _leather(rng: np.random.Generator) -> Grey:
    cracks = np.abs(_noise(rng, 7, 7))
    return np.asarray(0.90 - 0.14 * np.exp(-((cracks / 0.22) ** 2)) + 0.03 * _noise(rng, 40, 40))


def _tiles(rng: np.random.Generator) -> Grey:
    """Five by five square tiles to 2 m."""
    x, y = _grid()
    column, row = np.floor(x * 5).astype(int), np.floor(y * 5).astype(int)
    shade = rng.uniform(0.86, 0.96, (5, 5))[row, column]
    joint = (np.minimum((x * 5) % 1, (y * 5) % 1) < 0.035).astype(float)
    return np.asarray((shade + 0.02 * _noise(rng, 14, 14)) * (1 - joint) + 0.55 * joint)


def _brick(rng: np.random.Generator) -> Grey:
    """Running bond: 8 bricks wide, 28 courses high to 2 x 2.24 m."""
    x, y = _grid()
    courses, across = 28, 8
    row = np.floor(y * courses).astype(int)
    shifted = x * across + 0.5 * (row % 2)
    column = np.floor(shifted).astype(int) % across
    shade = rng.uniform(0.66, 0.90, (courses, across))[row, column]
    joint = (((y * courses) % 1) < 0.17) | ((shifted % 1) < 0.06)
    return np.asarray(np.where(joint, 0.98, shade) + 0.03 * _noise(rng, 2, 2))


def _plaster(rng: np.random.Generator) -> Grey:
    return 0.93 + 0.02 * _noise(rng, 1.5, 1.5) + 0.02 * _noise(rng, 30, 30)


def _concrete(rng: np.random.Generator) -> Grey:
    """Cloudy slabs of 3 m with a joint between them and some stains."""
    image = 0.84 + 0.04 * _noise(rng, 50, 50) + 0.02 * _noise(rng, 8, 8) + 0.03 * _noise(rng, 1, 1)
    stains = np.maximum(_noise(rng, 26, 26) - 1.6, 0.0)
    image = image - 0.05 * np.minimum(stains, 1.5)
    image[:2], image[:, :2] = 0.55, 0.55
    return np.asarray(image)


def _sheet(rng: np.random.Generator) -> Grey:
    """Corrugated metal sheet: 12 upright ribs."""
    x, _ = _grid()
    return np.asarray(0.80 + 0.16 * np.tanh(2.5 * np.sin(2 * np.pi * 12 * x)) + 0.02 * _noise(rng, 2, 60))


def _metal(rng: np.random.Generator) -> Grey:
    """Brushed along the picture's width."""
    return 0.88 + 0.05 * _noise(rng, 60, 1) + 0.03 * _noise(rng, 70, 50)


def _plastic(rng: np.random.Generator) -> Grey:
    return 0.95 + 0.015 * _noise(rng, 1.5, 1.5) + 0.012 * _noise(rng, 60, 60)


def _cardboard(rng: np.random.Generator) -> Grey:
    """Flutes that shine through, flaps that meet in the middle, and a strip of tape over them."""
    x, y = _grid()
    image = 0.85 + 0.02 * np.sin(2 * np.pi * 60 * x) + 0.04 * _noise(rng, 3, 3) + 0.03 * _noise(rng, 40, 40)
    image = np.where(np.abs(x - 0.5) < 0.07, image + 0.11, image)
    image = np.where(np.abs(x - 0.5) < 0.006, 0.6, image)
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    return np.asarray(np.where(edge < 0.015, 0.68, image))


def _ceramic(rng: np.random.Generator) -> Grey:
    _, y = _grid()
    return np.asarray(0.90 + 0.03 * np.sin(2 * np.pi * 9 * y) + 0.04 * _noise(rng, 20, 20))


def _rubber(rng: np.random.Generator) -> Grey:
    return 0.88 + 0.05 * _noise(rng, 1.5, 1.5)


def _leaves(rng: np.random.Generator) -> Grey:
    return 0.78 + 0.17 * np.tanh(_noise(rng, 9, 14)) + 0.04 * _noise(rng, 3, 3)


def _paper(rng: np.random.Generator) -> Grey:
    """The backs of books in a row, each of its own shade."""
    image = np.empty((SIDE, SIDE))
    position = 0
    while position < SIDE:
        width = min(int(rng.integers(12, 26)), SIDE - position)
        image[:, position : position + width] = rng.uniform(0.6, 1.0)
        image[40:60, position : position + width] += rng.choice((-0.2, 0.0, 0.2))
        image[:, position] = 0.35
        position += width
    return image


TEXTURES: dict[str, Texture] = {
    # What things are made of.
    "wood": Texture(_wood, 1.2, 2.4, 0.7),
    "metal": Texture(_metal, roughness=0.4),
    "plastic": Texture(_plastic, roughness=0.5),
    "fabric": Texture(_fabric),
    "leather": Texture(_leather, roughness=0.6),
    "cardboard": Texture(_cardboard),
    "ceramic": Texture(_ceramic, roughness=0.4),
    "rubber": Texture(_rubber),
    "leaves": Texture(_leaves),
    "paper": Texture(_paper),
    # What floors and walls are made of.
    "planks": Texture(_planks, 2.0, 2.0, 0.6),
    "carpet": Texture(_carpet, 2.0, 2.0),
    "tiles": Texture(_tiles, 2.0, 2.0, 0.4),
    "concrete": Texture(_concrete, 3.0, 3.0),
    "brick": Texture(_brick, 2.0, 2.24),
    "plaster": Texture(_plaster, 2.4, 2.4),
    "sheet": Texture(_sheet, 3.0, 3.0, 0.5),
}
FLOOR_MATERIALS = ("planks", "carpet", "tiles", "concrete")
WALL_MATERIALS = ("plaster", "brick", "concrete", "sheet", "wood")

if __name__ == "__main__":
    write_textures(Path(sys.argv[1]) if len(sys.argv) > 1 else resource_path("worlds") / FOLDER)
