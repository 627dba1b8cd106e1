"""Surface colours and textures: SDF materials, OGRE material scripts and the colour names of Gazebo's own script."""

from __future__ import annotations

import io
import re
import struct
import warnings
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
MAX_TEXTURE_PIXELS = 100_000_000
MAX_HEIGHTMAP_PIXELS = 20_000_000
MAX_TEXTURE_SIDE = 2048
_HEIGHT_LIMIT = 1e5  # metres, or grey values: 16 bits hold 65535

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
    "FlatGrey": (0.5, 0.5, 0.5), "Concrete": (0.6, 0.6, 0.58), "RustySteel": (0.45, 0.32, 0.24),
    "Chrome": (0.78, 0.78, 0.8), "BumpyMetal": (0.55, 0.55, 0.57), "GrayGrid": (0.6, 0.6, 0.6),
    "PCBGreen": (0.08, 0.32, 0.14), "Motorway": (0.3, 0.3, 0.3), "Primary": (0.33, 0.33, 0.33),
    "Secondary": (0.33, 0.33, 0.33), "Tertiary": (0.36, 0.36, 0.36), "Trunk": (0.33, 0.33, 0.33),
    "Lanes_6": (0.33, 0.33, 0.33), "Lanes_4": (0.33, 0.33, 0.33), "Lanes_2": (0.33, 0.33, 0.33),
    "Lane_1": (0.33, 0.33, 0.33), "Footway": (0.55, 0.53, 0.5), "Steps": (0.55, 0.53, 0.5), "LightOn": (0.0, 1.0, 0.0),
    "LightOff": (1.0, 0.0, 0.0), "Runway": (0.3, 0.3, 0.3), "WhiteGlow": (1.0, 1.0, 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class Material:
    """How a surface looks. diffuse, emissive: RGB in [0, 1]. texture: (H, W, 3) uint8 RGB, multiplied by diffuse.

    opacity: 1 = solid. alpha: (H', W') uint8, opacity by texture coordinates, of surfaces with holes (leaves, fences).
    texture_scale: how many times larger than the texture coordinates say the texture is, about its middle, in u and v.
    """

    diffuse: Colour = (0.7, 0.7, 0.7)
    emissive: Colour = (0.0, 0.0, 0.0)
    texture: Image | None = None
    opacity: float = 1.0
    alpha: Image | None = None
    texture_scale: tuple[float, float] = (1.0, 1.0)


@lru_cache(maxsize=512)
def load_texture(path: str) -> Image | None:
    """Return a picture file as (H, W, 3) uint8 RGB, at most 2048 pixels a side, or None when it cannot be read."""
    data = _read(path)
    return decode_texture(data) if data is not None else None


@lru_cache(maxsize=64)
def load_alpha(path: str) -> Image | None:
    """Return the opacity of a picture file as (H, W) uint8, or None when it has none or cannot be read."""
    data = _read(path)
    return decode_alpha(data) if data is not None else None


def _read(path: str) -> npt.NDArray[np.uint8] | None:
    try:
        if Path(path).stat().st_size > MAX_TEXTURE_BYTES:
            return None
        return np.fromfile(path, np.uint8)
    except OSError:
        return None


def decode_texture(data: npt.NDArray[np.uint8]) -> Image | None:
    """Return an encoded picture (PNG, JPEG, TIFF, BMP, TGA, GIF, WebP) as (H, W, 3) uint8 RGB, or None.

    A picture that would unpack to more than 100 million pixels is not unpacked: a small file can hide one.
    """
    try:
        with warnings.catch_warnings(), PIL.Image.open(io.BytesIO(data.tobytes())) as picture:
            warnings.simplefilter("ignore")  # Pillow's of large pictures: they are refused here
            if not 0 < picture.width * picture.height <= MAX_TEXTURE_PIXELS:
                return None
            plain = _plain_png(data) if picture.format == "PNG" else data
            decoded = cv2.imdecode(plain, cv2.IMREAD_COLOR)  # three times faster, where it knows the format
            image = np.asarray(picture.convert("RGB")) if decoded is None else cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
    except (OSError, ValueError, SyntaxError, struct.error, PIL.Image.DecompressionBombError, cv2.error):
        return None
    return _limited(image)


def decode_alpha(data: npt.NDArray[np.uint8]) -> Image | None:
    """Return the opacity of an encoded picture as (H, W) uint8: its alpha, or its grey values where it is grey only.

    None when every pixel is solid, or when the picture cannot be read (see decode_texture).
    """
    try:
        with warnings.catch_warnings(), PIL.Image.open(io.BytesIO(data.tobytes())) as picture:
            warnings.simplefilter("ignore")
            if not 0 < picture.width * picture.height <= MAX_TEXTURE_PIXELS:
                return None
            if picture.mode in ("L", "1"):
                image = np.asarray(picture.convert("L"))
            elif picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
                image = np.asarray(picture.convert("RGBA"))[..., 3]
            else:
                return None
    except (OSError, ValueError, SyntaxError, struct.error, PIL.Image.DecompressionBombError):
        return None
    return None if image.min() == 255 else _limited(image)


def decode_heights(path: Path) -> npt.NDArray[np.float64] | None:
    """Return the first channel of a picture file as (H, W) float64 numbers as they are stored (8 or 16 bits, or float),
    at least 2 x 2, or None when it cannot be read (see decode_texture). Holes in elevation models ("no data", far below
    anything) get the lowest height.
    """
    data = _read(str(path))
    try:
        with warnings.catch_warnings(), PIL.Image.open(io.BytesIO(data.tobytes() if data is not None else b"")) as file:
            warnings.simplefilter("ignore")
            if not 4 <= file.width * file.height <= MAX_HEIGHTMAP_PIXELS:
                return None
            heights = np.asarray(file.convert("L") if file.mode in ("P", "1") else file, np.float64)
    except (OSError, ValueError, SyntaxError, struct.error, PIL.Image.DecompressionBombError):
        return None
    heights = heights if heights.ndim == 2 else heights[..., 0]
    known = np.abs(heights) < _HEIGHT_LIMIT  # NaN is not either
    if min(heights.shape) < 2 or not known.any():
        return None
    return np.where(known, heights, heights[known].min())


def _limited(image: Image) -> Image:
    side = max(image.shape[:2])
    if side > MAX_TEXTURE_SIDE:
        height, width = (max(round(length * MAX_TEXTURE_SIDE / side), 1) for length in image.shape[:2])
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return np.ascontiguousarray(image, np.uint8)


def _plain_png(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a PNG without the chunks that say nothing about its pixels: libpng prints warnings about odd ones."""
    raw = data.tobytes()
    kept, at = [raw[:8]], 8
    while at + 12 <= len(raw):
        end = at + 12 + int.from_bytes(raw[at : at + 4], "big")
        if raw[at + 4 : at + 8] in (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"):
            kept.append(raw[at:end])
        at = end
    return np.frombuffer(b"".join(kept), np.uint8)


def gazebo_material(name: str) -> Material | None:
    """Return the material "Gazebo/Name", or None for a name that is not known. Endings say how clear or bright it is:
    RedTransparent, BlueGlow, GreenTransparentOverlay, BlueLaser.
    """
    if not name.startswith("Gazebo/"):
        return None
    plain = name.removeprefix("Gazebo/")
    clear = re.fullmatch(r"(?:Transparent)?(\w+?)(Transparent|Laser)?(Overlay)?(Glow)?(Outline)?", plain)
    word = plain if plain in GAZEBO_COLOURS else clear[1] if clear else ""
    if word not in GAZEBO_COLOURS:
        return None
    see_through = "Transparent" in plain or "Laser" in plain
    return Material(
        GAZEBO_COLOURS[word],
        GAZEBO_COLOURS[word] if "Glow" in plain else (0.0, 0.0, 0.0),
        opacity=0.5 if see_through else 1.0,
    )


@dataclass(frozen=True)
class ScriptMaterial:
    """What an OGRE material script says about one material. texture: the file name it gives, not yet resolved.

    cut_out: whether the texture's alpha makes holes. scale: of the texture, in u and v.
    """

    diffuse: Colour | None = None
    texture: str = ""
    opacity: float = 1.0
    cut_out: bool = False
    scale: tuple[float, float] = (1.0, 1.0)


def parse_script(text: str) -> dict[str, ScriptMaterial]:
    """Return the materials of an OGRE .material script by name (first diffuse and first texture of each)."""
    text = re.sub(r"//[^\n]*", "", _without_comments(text))
    found: dict[str, ScriptMaterial] = {}
    heads = list(
        re.finditer(r"^[ \t]*material[ \t]+(\"[^\"\n]*\"|\S+)(?:[ \t]*:[ \t]*(\S+))?", text, flags=re.MULTILINE)
    )
    for head, following in zip(heads, [*heads[1:], None], strict=False):
        body = text[head.end() : following.start() if following else len(text)]
        base = found.get(head.group(2) or "", ScriptMaterial())
        diffuse = re.search(r"\bdiffuse((?:[ \t]+[-+\d.eE]+){3,4})", body)
        texture = re.search(r"\btexture[ \t]+(\"[^\"\n]*\"|\S+)", body)
        blended = bool(re.search(r"\bscene_blend[ \t]+alpha_blend|\balpha_rejection[ \t]+g", body))
        colour, opacity = base.diffuse, base.opacity
        if diffuse:
            try:
                values = [min(max(float(part), 0.0), 1.0) for part in diffuse.group(1).split()]
            except ValueError:
                values = []
            if len(values) >= 3:
                colour = (values[0], values[1], values[2])
                opacity = values[3] if len(values) == 4 and "alpha_blend" in body else 1.0
        picture = texture.group(1).strip('"') if texture else base.texture
        found[head.group(1).strip('"')] = ScriptMaterial(
            colour, picture, opacity, blended or base.cut_out, _texture_scale(body) or base.scale
        )
    return found


def _texture_scale(body: str) -> tuple[float, float] | None:
    unit = re.search(r"\btexture_unit\b[^{]{0,200}\{([^}]{0,4000})", body)
    match = re.search(r"^[ \t]*scale[ \t]+(\S+)[ \t]+(\S+)", unit[1], flags=re.MULTILINE) if unit else None
    try:
        u, v = (float(word) for word in match.groups()) if match else (0.0, 0.0)
    except ValueError:
        return None
    return (u, v) if 1e-4 < abs(u) < 1e4 and 1e-4 < abs(v) < 1e4 else None


def _without_comments(text: str) -> str:
    pieces = text.split("/*")
    return pieces[0] + "".join(piece.partition("*/")[2] for piece in pieces[1:])
