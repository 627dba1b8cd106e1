"""The shapes SDF knows, as frozen dataclasses. Metres, each in its own frame, centred as the SDF specification says."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree.ElementTree import Element

from mm_nav.errors import WorldError
from mm_nav.sim.sdf import numbers, scalar, text_of, vector

MAX_LENGTH_M = 1e7  # longer than this is a slip of the pen; float32 rays would not meet it anyway
_MAX_POINTS = 5_000  # of all outlines of a polyline: filling it takes the square of this


@dataclass(frozen=True)
class Box:
    """A box centred on its frame; size: x, y, z."""

    size: tuple[float, float, float]


@dataclass(frozen=True)
class Cylinder:
    """A cylinder along z, centred."""

    radius: float
    length: float


@dataclass(frozen=True)
class Cone:
    """A cone along z (apex up), centred (SDF 1.11)."""

    radius: float
    length: float


@dataclass(frozen=True)
class Capsule:
    """A cylinder along z of `length` with a half sphere of `radius` on both ends."""

    radius: float
    length: float


@dataclass(frozen=True)
class Sphere:
    """A sphere."""

    radius: float


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid; radii along x, y, z."""

    radii: tuple[float, float, float]


@dataclass(frozen=True)
class Plane:
    """A plane through the frame's origin; size bounds what is seen of it, contacts see it 200 m wide at least."""

    normal: tuple[float, float, float]
    size: tuple[float, float]


@dataclass(frozen=True)
class Mesh:
    """A mesh file; submesh: "" = all of it; center moves the submesh's middle onto the frame."""

    uri: str
    scale: tuple[float, float, float]
    submesh: str = ""
    center: bool = False


@dataclass(frozen=True)
class Polyline:
    """Closed outlines in the xy plane, extruded from z = 0 to `height`."""

    outlines: tuple[tuple[tuple[float, float], ...], ...]
    height: float


@dataclass(frozen=True)
class Heightmap:
    """Ground from a grey picture. size: x, y and the height of the lightest pixel; position: its middle at height 0.

    textures: URI and size (m) of each, from the lowest up. blends: heights (m) where one gives way to the next.
    """

    uri: str
    size: tuple[float, float, float]
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    textures: tuple[tuple[str, float], ...] = ()
    blends: tuple[float, ...] = ()


Geometry = Box | Cylinder | Cone | Capsule | Sphere | Ellipsoid | Plane | Mesh | Polyline | Heightmap


def parse_geometry(element: Element, what: str) -> Geometry | str:
    """Return the shape of a <geometry> element, or the tag of one that is not supported ("" = empty).

    `what` names the visual or collision in errors. Raises WorldError for sizes that no shape can have.
    """
    for child in element:
        if child.tag == "empty":
            return ""
        if child.tag == "polyline":
            return _parse_polyline(element.findall("polyline"), f"{what}: ")
        shape = _parse_shape(child, f"{what}: ")
        return shape if shape is not None else str(child.tag)
    return ""


def _parse_shape(child: Element, what: str) -> Geometry | None:
    def lengths(tag: str, default: tuple[float, ...]) -> list[float]:
        values = [float(v) for v in vector(child, tag, default, what)]
        if any(abs(value) > MAX_LENGTH_M for value in values):
            raise WorldError(f"{what}<{child.tag}><{tag}> is above {MAX_LENGTH_M:g} m: correct it")
        return values

    def positive(tag: str, default: float) -> float:
        (value,) = lengths(tag, (default,))
        if not value > 0:
            raise WorldError(f"{what}<{child.tag}><{tag}> is {value}, it must be above 0: correct it")
        return value

    if child.tag == "box":
        x, y, z = (abs(v) for v in lengths("size", (1.0, 1.0, 1.0)))
        return Box((x, y, z))
    if child.tag == "cylinder":
        return Cylinder(positive("radius", 1.0), positive("length", 1.0))
    if child.tag == "cone":
        return Cone(positive("radius", 0.5), positive("length", 1.0))
    if child.tag == "capsule":
        return Capsule(positive("radius", 0.5), positive("length", 1.0))
    if child.tag == "sphere":
        return Sphere(positive("radius", 1.0))
    if child.tag == "ellipsoid":
        x, y, z = (abs(v) for v in lengths("radii", (1.0, 1.0, 1.0)))
        return Ellipsoid((x, y, z))
    if child.tag == "plane":
        nx, ny, nz = (float(v) for v in vector(child, "normal", (0.0, 0.0, 1.0), what))
        sx, sy = (abs(v) for v in lengths("size", (100.0, 100.0)))
        if nx == ny == nz == 0.0:
            raise WorldError(f"{what}<plane><normal> is 0 0 0: give a direction")
        return Plane((nx, ny, nz), (sx, sy))
    if child.tag == "mesh":
        one = len(text_of(child, "scale").split()) == 1  # written by people who want all three the same
        x, y, z = 3 * lengths("scale", (1.0,)) if one else lengths("scale", (1.0, 1.0, 1.0))
        submesh = child.find("submesh")
        center = text_of(submesh, "center").lower() in ("1", "true")
        return Mesh(text_of(child, "uri") or text_of(child, "filename"), (x, y, z), text_of(submesh, "name"), center)
    if child.tag == "heightmap":
        x, y, z = lengths("size", (1.0, 1.0, 1.0))
        if not (x > 0 and y > 0):
            raise WorldError(f"{what}<heightmap><size> is {x} {y} {z}, x and y must be above 0: correct it")
        px, py, pz = lengths("pos", (0.0, 0.0, 0.0))
        sizes = [numbers(text_of(e, "size", "10"), f"{what}<texture><size>") for e in child.findall("texture")]
        textures = tuple(
            (text_of(e, "diffuse"), float(size[0]))  # some write the size of the ground here, three numbers
            for e, size in zip(child.findall("texture"), sizes, strict=True)
        )
        blends = [scalar(e, "min_height", 0.0, what) for e in child.findall("blend")]
        return Heightmap(text_of(child, "uri"), (x, y, z), (px, py, pz), textures, tuple(blends))
    return None


def _parse_polyline(children: list[Element], what: str) -> Polyline:
    outlines = []
    for child in children:
        points = [numbers(point.text or "", f"{what}<point>", 2) for point in child.findall("point")]
        if len(points) < 3:
            raise WorldError(f"{what}<polyline> has {len(points)} points, at least 3 are needed: add points")
        outlines.append(tuple((float(x), float(y)) for x, y in points))
    count = sum(len(outline) for outline in outlines)
    if count > _MAX_POINTS:
        raise WorldError(f"{what}<polyline> has {count} points, more than {_MAX_POINTS}: make it simpler")
    return Polyline(tuple(outlines), scalar(children[0], "height", 1.0, what))
