"""What GPU this machine has, and the versions of what drives it, asked of the libraries themselves."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_…
_RELEASES = Path("/proc/driver/nvidia/version"), Path("/etc/nv_tegra_release")


@dataclass(frozen=True)
class Gpu:
    """name: of the first GPU, with its compute capability. driver: its release. cuda, tensorrt: versions of the libraries that
    would be loaded. "" = not there."""

    name: str = ""
    driver: str = ""
    cuda: str = ""
    tensorrt: str = ""


def find_gpu(load: Callable[[str], ctypes.CDLL] = ctypes.CDLL) -> Gpu:
    """Return what this machine has. load: opens a shared library, OSError when there is none."""
    return Gpu(_name(load), _driver(), _cuda(load), _tensorrt(load))


def _first(load: Callable[[str], ctypes.CDLL], names: Sequence[str]) -> ctypes.CDLL | None:
    for name in names:
        try:
            return load(name)
        except OSError:
            continue
    return None


def _name(load: Callable[[str], ctypes.CDLL]) -> str:
    library = _first(load, ["libcuda.so.1"])
    device, text = ctypes.c_int(), ctypes.create_string_buffer(256)
    if library is None or library.cuInit(0) or library.cuDeviceGet(ctypes.byref(device), 0):
        return ""
    if library.cuDeviceGetName(text, len(text), device):
        return ""
    capability = []
    for attribute in (_MAJOR, _MINOR):
        value = ctypes.c_int()
        if library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return text.value.decode(errors="replace")
        capability.append(value.value)
    return f"{text.value.decode(errors='replace')} (compute capability {capability[0]}.{capability[1]})"


def _driver() -> str:
    for path in _RELEASES:
        try:
            first = path.read_text(errors="replace").splitlines()[0]
        except (OSError, IndexError):
            continue
        found = re.search(r"(\d+\.\d+(?:\.\d+)?)|R\d+ \(release\), REVISION: [\d.]+", first)
        return found.group(0) if found else first[:80]
    return ""


def _cuda(load: Callable[[str], ctypes.CDLL]) -> str:
    library, version = _first(load, [f"libcudart.so.{major}" for major in (13, 12, 11)]), ctypes.c_int()
    if library is None or library.cudaRuntimeGetVersion(ctypes.byref(version)):
        return ""
    return f"{version.value // 1000}.{version.value % 1000 // 10}"


def _tensorrt(load: Callable[[str], ctypes.CDLL]) -> str:
    library = _first(load, [f"libnvinfer.so.{major}" for major in (10, 11, 8)])
    if library is None:
        return ""
    # 8601 is 8.6.1, and 100900 is 10.9.0.
    version = int(library.getInferLibVersion())
    big, middle = (10_000, 100) if version >= 100_000 else (1000, 100)
    return f"{version // big}.{version % big // middle}.{version % middle}"
