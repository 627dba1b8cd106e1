"""`mm-nav engine`: build TensorRT engines ahead of a drive, and list those there are."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm_nav.cli.output import add_json_option, require_writable, write_json
from mm_nav.errors import ConfigError
from mm_nav.runtime.edge import InferenceSettings, edge_devices
from mm_nav.runtime.engines import PRECISIONS, EngineCache, Provenance, default_root

if TYPE_CHECKING:
    import onnxruntime

NAME = "engine"
HELP = "build TensorRT engines ahead of a drive, and list those there are"
_MODELS = ("tiny", "small")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = (
        "The inference node builds a TensorRT engine when it is configured first, which takes minutes, and keeps it. This builds\n"
        "it now, as the node would. Engines fit one GPU, driver, TensorRT, ONNX Runtime, model and precision: build them on the\n"
        "robot's own computer, as the user that the stack runs as, and again after an update of any of these."
    )
    parser.epilog = "Example: mm-nav engine build --device orin-nano"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    build = actions.add_parser(
        "build",
        help="build the engines of a model, or of all models of a device's profile",
        description="Build what the inference node would open with the same device, model and precision, and run it once. Exit "
        "status: 0 the engines are there, 2 they cannot be built.",
        epilog="Example: mm-nav engine build small --precision fp16",
    )
    build.add_argument(
        "model",
        nargs="?",
        default="",
        metavar="MODEL",
        help="ONNX file, or tiny or small: the models that come with mm_nav (default: those of the device)",
    )
    build.add_argument(
        "--device",
        default="",
        metavar="NAME",
        help=f"{', '.join(edge_devices())}, or a YAML file like those of config/edge",
    )
    build.add_argument("--precision", choices=PRECISIONS, help="default: the device's, else fp16")
    _add_cache(build)
    add_json_option(build)
    shown = actions.add_parser(
        "list",
        help="list the engines there are",
        description="List the engines in the cache, with what each was built from and for.",
        epilog="Example: mm-nav engine list",
    )
    _add_cache(shown)
    add_json_option(shown)


def _add_cache(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cache",
        type=Path,
        metavar="DIR",
        help="where engines are kept (default: the stack's own: $XDG_CACHE_HOME/mm_nav/engines, or below ~/.cache)",
    )


def run(args: argparse.Namespace) -> int:
    """Build or list engines."""
    require_writable(args.json)
    root = args.cache or default_root()
    report = _list(root) if args.action == "list" else _build(args, root)
    if args.json:
        write_json(args.json, report)
    return 0


class _Watched(EngineCache):
    """An engine cache that remembers what was asked of it. folder: of the engine; reason: why it was built, "" = it was there."""

    folder_used: Path | None = None
    reason = ""

    def open(
        self,
        provenance: Provenance,
        make: Callable[[Path], onnxruntime.InferenceSession],
        say: Callable[[str], None] = lambda text: None,
    ) -> onnxruntime.InferenceSession:
        """Open as the base class does."""
        self.folder_used, self.reason = self.folder(provenance), self.why_not(provenance)
        return super().open(provenance, make, say)


def _build(args: argparse.Namespace, root: Path) -> dict[str, Any]:
    from rich.console import Console

    from mm_nav.resources import resource_path
    from mm_nav.runtime.policy import default_model

    if not args.model and not args.device:
        raise ConfigError("nothing to build: give a model (tiny, small or an ONNX file), a --device, or both")
    model = str(resource_path(f"models/{args.model}.onnx")) if args.model in _MODELS else args.model
    settings = InferenceSettings(model, precision=args.precision or "auto").on(args.device)
    if settings.provider not in ("auto", "tensorrt"):
        raise ConfigError(f"device {args.device} runs on provider {settings.provider}, which has no engines")
    settings = replace(settings, provider="tensorrt")
    console = Console()
    models = [Path(settings.model) if settings.model else default_model()]
    models += [Path(settings.light_model)] if settings.light_model else []
    built = [_build_one(path, settings, root, lambda text: console.print(text, soft_wrap=True)) for path in models]
    for found in built:
        verb = "built" if found["built"] else "was there"
        console.print(
            f"{found['model']}: {verb} in {found['seconds']:.1f} s, {found['bytes'] / 1e6:.1f} MB, opens in "
            f"{found['open_seconds']:.2f} s; {found['folder']}",
            soft_wrap=True,
            highlight=False,
        )
    return {"cache": root, "engines": built}


def _build_one(path: Path, settings: InferenceSettings, root: Path, say: Callable[[str], None]) -> dict[str, Any]:
    from mm_nav.runtime.accelerated import open_model
    from mm_nav.runtime.manifest import load_manifest

    manifest, _ = load_manifest(path)
    seconds, cache = [], _Watched(root)
    reasons = []
    # The second time it is read from the disk, as at every start of the node.
    for _ in range(2):
        begun = time.perf_counter()
        open_model(path, settings.provider, 1, settings.precision, manifest.preprocessing, say, cache)
        seconds.append(time.perf_counter() - begun)
        reasons.append(cache.reason)
    folder = cache.folder_used
    assert folder is not None
    if reasons[1]:
        raise ConfigError(
            f"TensorRT has built no engine that can be kept for {path.name} ({reasons[1]}): the lines above say why; the node "
            "would build at every start. Free space on the disk, or choose provider cuda"
        )
    engines = sorted(folder.glob("*.engine"))
    return {
        "model": path,
        "folder": folder,
        "built": bool(reasons[0]),
        "seconds": round(seconds[0], 3),
        "open_seconds": round(seconds[1], 3),
        "bytes": sum(engine.stat().st_size for engine in engines),
        "precision": "fp16" if settings.precision == "auto" else settings.precision,
    }


def _list(root: Path) -> dict[str, Any]:
    from rich.console import Console
    from rich.table import Table

    console, found = Console(), []
    for path in sorted(root.glob("*/provenance.json")):
        try:
            record = json.loads(path.read_text())
            made = Provenance(**record["provenance"])
        except (OSError, ValueError, TypeError, KeyError, ConfigError):
            console.print(f"{path.parent}: its record is broken; the stack would build it anew", soft_wrap=True)
            continue
        size = sum(engine.stat().st_size for engine in path.parent.glob("*.engine"))
        found.append({"folder": path.parent, "bytes": size, **vars(made)})
    if not found:
        console.print(f"no engines in {root}: mm-nav engine build --device NAME makes them", soft_wrap=True)
        return {"cache": root, "engines": []}
    table = Table(title=f"engines in {root}", title_justify="left")
    for heading in ("folder", "model", "precision", "GPU", "TensorRT", "ONNX Runtime", "MB"):
        table.add_column(heading, justify="right" if heading == "MB" else "left")
    names = _names()
    for row in found:
        table.add_row(
            row["folder"].name[:8], names.get(row["model"], row["model"][:8]), row["precision"], row["gpu"], row["tensorrt"],
            row["onnxruntime"], f"{row['bytes'] / 1e6:.1f}",
        )  # fmt: skip
    console.print(table)
    return {"cache": root, "engines": found}


def _names() -> dict[str, str]:
    """Return the names of the models that come with mm_nav, by their hash."""
    from mm_nav.resources import resource_path

    found = {}
    for name in _MODELS:
        manifest = resource_path(f"models/{name}.json")
        if manifest.is_file():
            found[json.loads(manifest.read_text())["model_sha256"]] = name
    return found
