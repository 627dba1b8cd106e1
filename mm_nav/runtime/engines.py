"""TensorRT engines on disk, each with what it was built from and for: one that does not match is built anew, never used."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

from mm_nav.errors import ConfigError

PRECISIONS = ("fp32", "fp16", "int8")
_RECORD = "provenance.json"
_WITH_RIVALS = 14
_Session = TypeVar("_Session")


@dataclass(frozen=True)
class Provenance:
    """What an engine is built from and for; any difference makes it another engine.

    model: SHA-256 of the ONNX file. preprocessing: fingerprint of what it is fed. precision: fp32, fp16 or int8. phrases: the most
    that are asked at once. onnxruntime, tensorrt, cuda, driver: versions. gpu: its name and compute capability.
    """

    model: str
    preprocessing: str
    precision: str
    phrases: int
    onnxruntime: str
    tensorrt: str
    cuda: str
    driver: str
    gpu: str

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(f"unknown precision '{self.precision}': give {', '.join(PRECISIONS)}")

    @property
    def key(self) -> str:
        """A short hash of all of it: the name of the engine's folder."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:20]


def default_root() -> Path:
    """Return where engines are kept: $XDG_CACHE_HOME/mm_nav/engines, or below ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mm_nav" / "engines"


def provider_options(
    folder: Path, provenance: Provenance, open_shapes: Mapping[str, Sequence[int | str]]
) -> dict[str, str]:
    """Return the options of ONNX Runtime's TensorRT provider for an engine in `folder`.

    open_shapes: of the inputs that leave an axis open; it may have from 1 to `phrases` rows, and is best at one phrase with its
    rivals, or at `phrases` if those are fewer.
    """

    def shapes(size: int) -> str:
        named = {
            name: "x".join(str(n if isinstance(n, int) else size) for n in shape) for name, shape in open_shapes.items()
        }
        return ",".join(f"{name}:{shape}" for name, shape in named.items())

    options = {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_engine_cache_prefix": "policy",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_fp16_enable": str(int(provenance.precision != "fp32")),
        "trt_int8_enable": str(int(provenance.precision == "int8")),
    }
    if open_shapes:
        options["trt_profile_min_shapes"] = shapes(1)
        options["trt_profile_opt_shapes"] = shapes(min(_WITH_RIVALS, provenance.phrases))
        options["trt_profile_max_shapes"] = shapes(provenance.phrases)
    return options


class EngineCache:
    """The engines in one folder. A process that dies while it builds leaves nothing that another would use."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()

    def folder(self, provenance: Provenance) -> Path:
        """Return where an engine lies, or would."""
        return self.root / provenance.key

    def why_not(self, provenance: Provenance) -> str:
        """Return why there is no engine that may be used as it is; "" when there is one."""
        folder = self.folder(provenance)
        if not folder.is_dir():
            return self._nearest(provenance)
        try:
            record = json.loads((folder / _RECORD).read_text())
            kept = Provenance(**record["provenance"])
            files = {str(name): str(digest) for name, digest in record["files"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ConfigError):
            return "its record is missing or broken"
        if kept != provenance:
            return f"its record names another {', '.join(_differing(kept, provenance))}"
        if not files:
            return "its record names no engine"
        for name, digest in files.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if _digest(path) != digest:
                return f"{name} is not the file that was built"
        return ""

    def open(
        self, provenance: Provenance, make: Callable[[Path], _Session], say: Callable[[str], None] = lambda text: None
    ) -> _Session:
        """Return make(folder), a session that reads its engine from the folder or, where there is none, builds it there.

        make: must build and run the engine once before it returns. say: told what is built and why, for building takes minutes.
        A build that fails, or makes no engine, leaves nothing behind.
        """
        reason = self.why_not(provenance)
        folder = self.folder(provenance)
        if not reason:
            return make(folder)
        say(
            f"building a TensorRT engine ({provenance.precision}) for {provenance.gpu or 'this GPU'}: {reason}; this takes minutes"
        )
        part = self.root / f".{provenance.key}.{os.getpid()}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            session = make(part)
            files = {path.name: _digest(path) for path in sorted(part.iterdir()) if path.suffix == ".engine"}
            if not files:
                say("TensorRT has built no engine: the network runs without one")
                return session
            record = {"provenance": asdict(provenance), "files": files}
            (part / _RECORD).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
            say(f"the engine is kept in {folder}")
            return session
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _nearest(self, provenance: Provenance) -> str:
        """Return in what the most alike of the other engines differs."""
        nearest: list[str] | None = None
        for path in self.root.glob(f"*/{_RECORD}"):
            try:
                kept = Provenance(**json.loads(path.read_text())["provenance"])
            except (OSError, ValueError, TypeError, KeyError, ConfigError):
                continue
            differing = _differing(kept, provenance)
            if nearest is None or len(differing) < len(nearest):
                nearest = differing
        return (
            "there is none yet" if nearest is None else f"those there are were built for another {', '.join(nearest)}"
        )


def _differing(one: Provenance, other: Provenance) -> list[str]:
    return [item.name for item in fields(Provenance) if getattr(one, item.name) != getattr(other, item.name)]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
