"""Compressed pictures that are decoded when somebody looks at them: of a camera's thirty a second, the stack looks at ten."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.observation import CameraImage
from mm_nav.sensing.images import decode_compressed

# Start-of-frame markers of JPEG, which hold the picture's size: all of C0 to CF but tables, extensions and arithmetic coding's.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MOST_SEGMENTS = 64


class PackedImage(CameraImage):
    """A CameraImage whose `rgb` is decoded at its first use, which raises SensorError when that cannot be done. Use `pack`."""

    @classmethod
    def pack(
        cls,
        stamp_ns: int,
        data: bytes,
        shape: tuple[int, int],
        intrinsics: npt.NDArray[np.float64],
        base_T_camera: npt.NDArray[np.float64],
        distortion: tuple[float, ...] = (),
        distortion_model: str = "plumb_bob",
    ) -> PackedImage:
        """Return the picture of JPEG or PNG data. shape: (height, width) of it. The rest as in CameraImage."""
        image = cls.__new__(cls)
        # What CameraImage's own __init__ would do, but for rgb.
        for name, value in (
            ("stamp_ns", stamp_ns), ("intrinsics", intrinsics), ("base_T_camera", base_T_camera), ("distortion", distortion),
            ("distortion_model", distortion_model), ("_data", data), ("_shape", shape),
        ):  # fmt: skip
            object.__setattr__(image, name, value)
        return image

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, pixels."""
        known: tuple[int, int] | None = self.__dict__.get("_shape")
        return super().shape if known is None else known

    def __getattr__(self, name: str) -> Any:
        # Only called for what is not there yet.
        if name != "rgb" or "_data" not in self.__dict__:
            raise AttributeError(name)
        rgb = decode_compressed(self.__dict__["_data"])
        object.__setattr__(self, "rgb", rgb)
        return rgb


def jpeg_shape(data: bytes | memoryview) -> tuple[int, int] | None:
    """Return (height, width) of a JPEG that has its beginning and its end; None = it has not, or it is something else.

    Source: ITU-T T.81, annex B.
    """
    if len(data) < 4 or bytes(data[:2]) != b"\xff\xd8" or bytes(data[-2:]) != b"\xff\xd9":
        return None
    at = 2
    try:
        for _ in range(_MOST_SEGMENTS):
            lead, marker, length = struct.unpack_from(">BBH", data, at)
            if lead != 0xFF or length < 2:
                return None
            if marker in _FRAMES:
                height, width = struct.unpack_from(">HH", data, at + 5)
                return (height, width) if height and width else None
            at += 2 + length
    except struct.error:
        return None
    return None
