"""Finds the files that a world refers to: includes, meshes, textures; never outside the search paths."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from mm_nav.errors import WorldError
from mm_nav.sim.sdf_xml import read_xml

MAX_MESH_BYTES = 512 * 1024 * 1024
PATH_VARIABLES = (
    "GZ_SIM_RESOURCE_PATH",
    "IGN_GAZEBO_RESOURCE_PATH",
    "SDF_PATH",
    "GAZEBO_MODEL_PATH",
    "GAZEBO_RESOURCE_PATH",
)
# Where Gazebo keeps the models that it has fetched before.
CACHE_VARIABLES = ("GZ_FUEL_CACHE_PATH", "IGN_FUEL_CACHE_PATH")
_HOME_MODELS, _HOME_CACHES = "~/.gazebo/models", ("~/.gz/fuel", "~/.ignition/fuel")
_PACKAGE_LEVELS = 4  # how far above a world file its package's root may lie
_NEIGHBOURS = ("models", "meshes", "media", "materials", "worlds")


def is_remote(uri: str) -> bool:
    """Return whether a URI needs a network (nothing here ever uses one)."""
    return bool(re.match(r"(https?|fuel|ftp)://", uri, flags=re.IGNORECASE))


def last_name(uri: str) -> str:
    """Return the model name a URI ends in: ".../models/Ground%20Plane/2" -> "Ground Plane"."""
    parts = [unquote(part) for part in re.sub(r"[?#].*", "", uri).split("/") if part]
    while len(parts) > 1 and (parts[-1].isdigit() or parts[-1] == "tip"):
        parts.pop()
    return parts[-1] if parts else ""


class Resources:
    """The search paths of one world.

    base: folder of the world file. search_paths: given by the user, searched first; then the world's folder, its
    neighbours (../models and the like) and its package, then the folders in PATH_VARIABLES and Gazebo's own.
    """

    def __init__(self, base: Path | None, search_paths: Sequence[Path]) -> None:
        roots = [Path(path) for path in search_paths]
        for path in roots:
            if not path.is_dir():
                raise WorldError(f"search path {path} is not a folder: give the folder that holds the models")
        if base is not None:
            roots += _folders_around(Path(os.path.abspath(base)))
        for variable in PATH_VARIABLES:
            roots += [Path(part) for part in os.environ.get(variable, "").split(os.pathsep) if part]
        roots.append(Path(_HOME_MODELS).expanduser())
        caches = [Path(os.environ[name]) for name in CACHE_VARIABLES if os.environ.get(name)]
        self._caches = [path for path in (*caches, *(Path(p).expanduser() for p in _HOME_CACHES)) if path.is_dir()]
        found = [Path(os.path.abspath(root)) for root in roots if root.is_dir()]
        self.roots = list(dict.fromkeys(found))
        self._real = [path.resolve() for path in (*self.roots, *self._caches)]
        self._names: dict[Path, dict[str, str]] = {}
        self._packages: dict[Path, str] = {}
        self._found: dict[tuple[str, Path | None], Path | None] = {}

    def find(self, uri: str, base: Path | None) -> Path | None:
        """Return the file or folder that `uri` names, or None when there is none.

        base: the folder of the file that holds the URI. Raises WorldError when the URI leaves the search paths.
        """
        uri = uri.strip().replace("\\", "/")
        if not uri or "\0" in uri:
            return None
        if (uri, base) not in self._found:  # worlds name the same few files over and over
            self._found[uri, base] = self._fetched(uri) if is_remote(uri) else self._local(uri, base)
        return self._found[uri, base]

    def _local(self, uri: str, base: Path | None) -> Path | None:
        scheme, _, rest = uri.rpartition("://")
        for text in dict.fromkeys((rest, unquote(rest))):
            found = self._find_path(text, scheme.lower(), base)
            if found is not None:
                return self._checked(found, uri)
        return None

    def _find_path(self, path: str, scheme: str, base: Path | None) -> Path | None:
        if path.startswith("/") and scheme in ("", "file"):
            if Path(path).exists():
                return Path(os.path.normpath(path))
            return self._moved(path)
        path = path.lstrip("/")
        folders = self.roots if scheme or base is None else [Path(os.path.abspath(base)), *self.roots]
        inside = [folder / path for folder in folders]
        first, *below = PurePosixPath(path).parts or ("",)
        if ".." in (first, *below):
            absolute = [Path(os.path.normpath(candidate)) for candidate in inside]
            inside = [candidate for candidate in absolute if any(candidate.is_relative_to(root) for root in self.roots)]
            if absolute and not inside:
                raise _outside(path, absolute[0])
        if scheme and below and ".." not in below:  # model://house/table where .../house is itself a search path
            inside += [root.joinpath(*below) for root in self.roots if first in (root.name, self._package(root))]
        found = next((candidate for candidate in inside if candidate.exists()), None)
        if found is not None or ".." in PurePosixPath(path).parts:
            return found
        return (self._nested(path) if scheme == "model" else None) or self._any_case(path, scheme, base)

    def _package(self, root: Path) -> str:
        """Return the name that a root's package.xml gives it: a clone's folder is often called something else."""
        if root not in self._packages:
            found = None
            if (root / "package.xml").is_file():
                with contextlib.suppress(WorldError):  # no world depends on it being in order
                    found = read_xml(root / "package.xml").findtext("name")
            self._packages[root] = (found or "").strip()
        return self._packages[root]

    def _checked(self, found: Path, uri: str) -> Path:
        real = found.resolve()
        if not any(real.is_relative_to(root) for root in self._real):
            raise _outside(uri, real)
        return found

    def _moved(self, path: str) -> Path | None:
        """Find a file that an absolute path named on another machine: what follows its models or share folder."""
        parts = PurePosixPath(path).parts
        for index in [i for i, part in enumerate(parts) if part in ("models", "share", "src")]:
            rest = parts[index + 1 :]
            if rest and ".." not in rest:
                for root in self.roots:
                    if (root.joinpath(*rest)).exists():
                        return root.joinpath(*rest)
        return None

    def _nested(self, path: str) -> Path | None:
        # A package's models are often one level down (models/house/table): TurtleBot3's are, and say model://table.
        for root in self.roots:
            for name in sorted(self._listing(root).values()):
                if (root / name / path).exists():
                    return root / name / path
        return None

    def _any_case(self, path: str, scheme: str, base: Path | None) -> Path | None:
        """Find a path whose letters differ in case only, as files made on Windows do."""
        for root in ([base] if base is not None and not scheme else []) + self.roots:
            place = root
            for part in PurePosixPath(path).parts:
                name = self._listing(place).get(part.lower())
                if name is None:
                    break
                place = place / name
            else:
                return place
        return None

    def _listing(self, folder: Path) -> dict[str, str]:
        if folder not in self._names:
            try:
                self._names[folder] = {name.lower(): name for name in os.listdir(folder)}
            except OSError:
                self._names[folder] = {}
        return self._names[folder]

    def _fetched(self, uri: str) -> Path | None:
        """Return a copy of a remote model or of one of its files: a local model of its name, or Gazebo's cache."""
        match = re.match(
            r"\w+://([^/]+)/(?:\d+\.\d+/)?([^/]+)/(models|worlds)/([^/]+)(?:/(\d+|tip))?(?:/files)?(/.*)?$",
            re.sub(r"[?#].*", "", uri),
            flags=re.IGNORECASE,
        )
        if match is None:
            return self._find_path(last_name(uri), "model", None) if last_name(uri) not in ("", "..") else None
        host, owner, kind, name, version = (unquote(match[i] or "") for i in range(1, 6))
        inner = unquote(match[6] or "").strip("/")
        if any(".." in part.split("/") for part in (host, owner, name, inner)):
            return None
        for plain in dict.fromkeys((name, name.replace(" ", "_"), name.replace(" ", "_").lower())):
            found = self._find_path(f"{plain}/{inner}" if inner else plain, "model", None)
            if found is not None:
                return self._checked(found, uri)
        for cache in self._caches:
            folder = cache / host / owner.lower() / kind.lower() / name.lower()
            versions = [version] if version.isdigit() else sorted(self._listing(folder), key=_number, reverse=True)
            for number in versions:
                if (folder / number / inner).exists():
                    return self._checked(folder / number / inner, uri)
        return None

    def model_file(self, folder: Path) -> Path | None:
        """Return the SDF file of a model folder: the newest version that model.config names, else model.sdf."""
        for name in _manifest_entries(folder):
            path = Path(os.path.normpath(folder / name))
            if path.is_relative_to(folder) and path.is_file():
                return self._checked(path, str(path))
        if (folder / "model.sdf").is_file():
            return self._checked(folder / "model.sdf", str(folder))
        others = sorted(path for path in folder.glob("*.sdf") if path.is_file())
        return self._checked(others[0], str(folder)) if len(others) == 1 else None


def _folders_around(base: Path) -> Iterator[Path]:
    yield from (base, base / "models")
    if (base / "model.config").is_file():  # a model on its own: its neighbours are models as well
        yield base.parent
    yield from (base.parent / name for name in _NEIGHBOURS)
    for folder in list(base.parents)[:_PACKAGE_LEVELS]:
        if (folder / "package.xml").is_file():
            yield folder
            yield from (folder / name for name in _NEIGHBOURS)
            return


def _manifest_entries(folder: Path) -> list[str]:
    """Return the SDF file names of a model's manifest, newest readable version first."""
    manifest = next((folder / n for n in ("model.config", "manifest.xml") if (folder / n).is_file()), None)
    if manifest is None:
        return []
    try:
        root = read_xml(manifest)
    except WorldError:  # model.sdf beside it may well be in order
        return []
    entries = [(_version(element), (element.text or "").strip()) for element in root.iter("sdf")]
    return [
        name
        for version, name in sorted(entries, reverse=True)
        if (version == (0, 0) or (1, 3) <= version <= (1, 12)) and name
    ]


def _outside(uri: str, path: Path) -> WorldError:
    return WorldError(
        f"'{uri}' leads to {path}, outside the search paths: put the file under one of them or add its folder with "
        "--path"
    )


def _number(name: str) -> int:
    return int(name) if name.isdigit() else -1


def _version(element: Element) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)\.(\d+)", (element.get("version") or "").strip())
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)
