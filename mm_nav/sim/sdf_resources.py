"""Finds the files that a world refers to: includes, meshes, textures; never outside the search paths."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from mm_nav.errors import WorldError
from mm_nav.sim.sdf import read_xml

MAX_MESH_BYTES = 512 * 1024 * 1024
PATH_VARIABLES = (
    "GZ_SIM_RESOURCE_PATH",
    "IGN_GAZEBO_RESOURCE_PATH",
    "SDF_PATH",
    "GAZEBO_MODEL_PATH",
    "GAZEBO_RESOURCE_PATH",
)


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

    base: folder of the world file. search_paths: given by the user, searched first; then the world's folder and its
    neighbours (../models and the like), then the folders in PATH_VARIABLES.
    """

    def __init__(self, base: Path | None, search_paths: Sequence[Path]) -> None:
        roots = [Path(path) for path in search_paths]
        for path in roots:
            if not path.is_dir():
                raise WorldError(f"search path {path} is not a folder: give the folder that holds the models")
        if base is not None:
            roots += [base, base / "models"]
            if (base / "model.config").is_file():  # a model on its own: its neighbours are models as well
                roots.append(base.parent)
            roots += [base.parent / name for name in ("models", "meshes", "media", "materials", "worlds")]
        for variable in PATH_VARIABLES:
            roots += [Path(part) for part in os.environ.get(variable, "").split(os.pathsep) if part]
        self.roots = [Path(os.path.abspath(root)) for root in dict.fromkeys(roots) if root.is_dir()]

    def find(self, uri: str, base: Path | None) -> Path | None:
        """Return the file or folder that `uri` names, or None when there is none.

        base: the folder of the file that holds the URI. Raises WorldError when the URI leaves the search paths.
        """
        uri = uri.strip()
        if not uri or is_remote(uri) or "\0" in uri:
            return None
        scheme, _, rest = uri.rpartition("://")
        path = unquote(rest) if scheme else uri
        if (scheme == "file" and rest.startswith("/")) or (not scheme and uri.startswith("/")):
            candidates = [Path(path)]
        else:
            bases = list(self.roots) if scheme else [*([base] if base is not None else []), *self.roots]
            candidates = [root / path.lstrip("/") for root in bases]
        absolute = [Path(os.path.normpath(os.path.abspath(candidate))) for candidate in candidates]
        inside = [candidate for candidate in absolute if any(candidate.is_relative_to(root) for root in self.roots)]
        if absolute and not inside:
            raise WorldError(
                f"'{uri}' leads to {absolute[0]}, outside the search paths: put the file under one of them or add "
                "its folder with --path"
            )
        found = next((candidate for candidate in inside if candidate.exists()), None)
        return self._nested(path) if found is None and scheme == "model" else found

    def _nested(self, path: str) -> Path | None:
        # A package's models are often one level down (models/house/table): TurtleBot3's are, and say model://table.
        if ".." in Path(path).parts:
            return None
        for root in self.roots:
            for folder in sorted(p for p in root.iterdir() if p.is_dir()):
                if (folder / path).exists():
                    return folder / path
        return None

    def model_file(self, folder: Path) -> Path | None:
        """Return the SDF file of a model folder: the newest version that model.config names, else model.sdf."""
        config = folder / "model.config"
        if not config.is_file():
            config = folder / "manifest.xml"
        if config.is_file():
            entries = sorted(
                ((_version(e), (e.text or "").strip()) for e in read_xml(config).iter("sdf")), reverse=True
            )
            for version, name in entries:
                path = Path(os.path.normpath(folder / name))
                if version <= (1, 12) and name and path.is_relative_to(folder) and path.is_file():
                    return path
        return folder / "model.sdf" if (folder / "model.sdf").is_file() else None


def _version(element: Element) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)\.(\d+)", (element.get("version") or "").strip())
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)
