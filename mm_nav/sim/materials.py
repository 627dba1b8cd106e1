"""Surface colours and textures: SDF materials, OGRE material scripts and the colour names of Gazebo's own script."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image

Colour = tuple[float, float, float]
Image = npt.NDArray[np.uint8]

MAX_TEXTURE_BYTES = 128 * 1024 * 1024
MAX_TEXTURE_PIXELS = 64_000_000
MAX_TEXTURE_SIDE = 2048

# The plain colours that Gazebo Classic's media/materials/scripts/gazebo.material defines (diffuse), as the
# specification
# and countless worlds use them; where that script has a picture, the picture's mean colour.
GAZEBO_COLOURS: dict[str, Colour] = {
    "Grey": (0.7, 0.7, 0.7), "Gray": (0.7, 0.7, 0.7), "DarkGrey": (0.175, 0.175, 0.175),
    "DarkGray": (0.175, 0.175, 0.175), "LightGrey": (0.8, 0.8, 0.8), "White": (1.0, 1.0, 1.0),
    "FlatBlack": (0.1, 0.1, 0.1), "Black": (0.05, 0.05, 0.05), "Red": (1.0, 0.0, 0.0),
    "RedBright": (0.87, 0.26, 0.07), "Green": (0.0, 1.0, 0.0), "DarkGreen": (0.0, 0.5, 0.0), "Blue": (0.0, 0.0, 1.0),
    "SkyBlue": (0.13, 0.44, 0.7), "Yellow": (1.0, 1.0, 0.0), "ZincYellow": (0.97, 0.95, 0.21),
    "DarkYellow": (0.7, 0.7, 0.0), "Purple": (1.0, 0.0, 1.0), "DarkMagenta": (0.5, 0.0, 0.5),
    "Turquoise": (0.0, 1.0, 1.0), "Orange": (1.0, 0.51, 0.05), "DarkOrange": (0.8, 0.4, 0.04),
    "Indigo": (0.33, 0.0, 0.5), "Gold": (0.8, 0.65, 0.15), "Brown": (0.45, 0.3, 0.15), "Wood": (0.55, 0.38, 0.22),
    "WoodFloor": (0.6, 0.45, 0.3), "WoodPallet": (0.66, 0.52, 0.36), "Bricks": (0.6, 0.35, 0.27),
    "CeilingTiled": (0.83, 0.82, 0.78), "PaintedWall": (0.79, 0.77, 0.7), "Asphalt": (0.3, 0.3, 0.3),
    "Road": (0.33, 0.33, 0.33), "Residential": (0.3, 0.3, 0.3), "Grass": (0.3, 0.45, 0.2),
    "Carpet": (0.45, 0.4, 0.38), "CloudySky": (0.7, 0.8, 0.9), "GreyTransparent": (0.5, 0.5, 0.5),
    "BlueTransparent": (0.0, 0.0, 1.0), "RedTransparent": (1.0, 0.0, 0.0), "GreenTransparent": (0.0, 1.0, 0.0),
    "GrassFloor": (0.3, 0.45, 0.2), "Pedestrian": (0.5, 0.45, 0.4), "PioneerBody": (0.5, 0.0, 0.0),
    "EpuckBody": (0.9, 0.9, 0.8), "Rockwall": (0.5, 0.47, 0.43), "Stones": (0.5, 0.5, 0.48),
    "FlatGrey": (0.5, 0.5, 0.5), "Concrete": (0.6, 0.6, 0.58),
}  # fmt: skip


@dataclass(frozen=True)
class Material:
    """How a surface looks. diffuse, emissive: RGB in [0, 1]. texture: (H, W, 3) uint8 RGB, multiplied by diffuse."""

    diffuse: Colour = (0.7, 0.7, 0.7)
    emissive: Colour = (0.0, 0.0, 0.0)
    texture: Image | None = None
    opacity: float = 1.0


@lru_cache(maxsize=512)
def load_texture(path: str) -> Image | None:
    """Return a picture file as (H, W, 3) uint8 RGB, at most 2048 pixels a side, or None when it cannot be read."""
    try:
        if Path(path).stat().st_size > MAX_TEXTURE_BYTES:
            return None
        data = np.fromfile(path, np.uint8)
    except OSError:
        return None
    return decode_texture(data)


def decode_texture(data: npt.NDArray[np.uint8]) -> Image | None:
    """Return an encoded picture (PNG, JPEG, TIFF, BMP, TGA, GIF) as (H, W, 3) uint8 RGB, or None.

    A picture that would unpack to more than 64 million pixels is not unpacked: a small file can hide one.
    """
    try:
        with PIL.Image.open(io.BytesIO(data.tobytes())) as picture:
            if picture.width * picture.height > MAX_TEXTURE_PIXELS:
                return None
            decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)  # three times faster, where it knows the format
            image = np.asarray(picture.convert("RGB")) if decoded is None else cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError, cv2.error):
        return None
    side = max(image.shape[:2])
    if side > MAX_TEXTURE_SIDE:
        ratio = MAX_TEXTURE_SIDE / side
        image = cv2.resize(image, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image, np.uint8)


def gazebo_colour(name: str) -> Colour | None:
    """Return the colour of a "Gazebo/Name" material, or None for a name that is not known."""
    return GAZEBO_COLOURS.get(name.removeprefix("Gazebo/")) if name.startswith("Gazebo/") else None


@dataclass(frozen=True)
class ScriptMaterial:
    """What an OGRE material script says about one material. texture: the file name it gives, not yet resolved."""

    diffuse: Colour | None = None
    texture: str = ""


def parse_script(text: str) -> dict[str, ScriptMaterial]:
    """Return the materials of an OGRE .material script by name (first diffuse and first texture of each)."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)
    found: dict[str, ScriptMaterial] = {}
    heads = list(re.finditer(r"^\s*material\s+(\S+)(?:\s*:\s*(\S+))?", text, flags=re.MULTILINE))
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        body = text[head.end() : following.start() if following else len(text)]
        base = found.get(head.group(2) or "", ScriptMaterial())
        diffuse = re.search(r"\bdiffuse\s+([\d.eE+-]+)\s+([\d.eE+-]+)\s+([\d.eE+-]+)", body)
        texture = re.search(r"\btexture\s+(\S+)", body)
        colour = base.diffuse
        if diffuse:
            try:
                colour = (float(diffuse.group(1)), float(diffuse.group(2)), float(diffuse.group(3)))
            except ValueError:
                colour = base.diffuse
        found[head.group(1)] = ScriptMaterial(colour, texture.group(1).strip('"') if texture else base.texture)
    return found
