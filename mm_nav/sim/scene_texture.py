"""All textures of a scene in one array, each with its ever smaller copies (mip maps), sampled for many rays at once."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.sim.materials import Image


class TextureAtlas:
    """Textures by index. Sampling repeats them (as Gazebo does) and filters by the size of a pixel on the surface."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}
        self._images: list[Image] = []
        self._texels: npt.NDArray[np.uint8] = np.empty((0, 3), np.uint8)
        self._offset: npt.NDArray[np.int64] = np.empty((0, 0), np.int64)
        self._width = self._height = self._offset
        self._levels: npt.NDArray[np.int64] = np.empty(0, np.int64)

    @property
    def count(self) -> int:
        """Number of textures."""
        return len(self._images)

    def add(self, image: Image | None) -> int:
        """Return the index of a texture (H, W, 3) uint8; -1 for None. The same array gets the same index."""
        if image is None:
            return -1
        if id(image) not in self._known:
            self._known[id(image)] = len(self._images)
            self._images.append(image)
            self._levels = np.empty(0, np.int64)
        return self._known[id(image)]

    def pixel_counts(self) -> npt.NDArray[np.float64]:
        """Return the number of texels of each texture (count,)."""
        return np.array([image.shape[0] * image.shape[1] for image in self._images], np.float64)

    def _build(self) -> None:
        chains = [_mip_chain(image) for image in self._images]
        depth = max(len(chain) for chain in chains)
        self._offset = np.zeros((len(chains), depth), np.int64)
        self._width, self._height = self._offset.copy(), self._offset.copy()
        start, flat = 0, []
        for row, chain in enumerate(chains):
            for level in range(depth):
                image = chain[min(level, len(chain) - 1)]
                if level < len(chain):
                    self._offset[row, level] = start
                    start += image.shape[0] * image.shape[1]
                    flat.append(image.reshape(-1, 3))
                else:
                    self._offset[row, level] = self._offset[row, level - 1]
                self._height[row, level], self._width[row, level] = image.shape[:2]
        self._texels = np.concatenate(flat)
        self._levels = np.array([len(chain) for chain in chains], np.int64)

    def sample(
        self,
        index: npt.NDArray[np.int32],
        uv: npt.NDArray[np.float32],
        footprint: npt.NDArray[np.float32],
        smooth: bool,
    ) -> npt.NDArray[np.float32]:
        """Return colours (N, 3) float32 in [0, 1].

        index: (N,) texture. uv: (N, 2), v upwards. footprint: (N,) texels of the full picture that one pixel covers.
        smooth: bilinear filtering; else the nearest texel (three times faster).
        """
        if not len(self._levels):
            self._build()
        level = np.log2(np.maximum(footprint, 1.0)) + (0.0 if smooth else 0.25)
        level = np.clip(level.astype(np.int64), 0, self._levels[index] - 1)
        width, height, offset = self._width[index, level], self._height[index, level], self._offset[index, level]
        x = (uv[:, 0] - np.floor(uv[:, 0])) * width
        y = (1.0 - (uv[:, 1] - np.floor(uv[:, 1]))) * height
        if not smooth:
            column, row = np.minimum(x.astype(np.int64), width - 1), np.minimum(y.astype(np.int64), height - 1)
            return np.asarray(self._texels[offset + row * width + column] * np.float32(1 / 255), np.float32)
        x, y = x - 0.5, y - 0.5
        left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        wx, wy = (x - left).astype(np.float32)[:, None], (y - top).astype(np.float32)[:, None]
        columns, rows = (left % width, (left + 1) % width), (top % height, (top + 1) % height)
        corner = [[self._texels[offset + row * width + column] for column in columns] for row in rows]
        upper = corner[0][0] * (1 - wx) + corner[0][1] * wx
        lower = corner[1][0] * (1 - wx) + corner[1][1] * wx
        return np.asarray((upper * (1 - wy) + lower * wy) * np.float32(1 / 255), np.float32)


def _mip_chain(image: Image) -> list[Image]:
    chain = [image]
    while max(chain[-1].shape[:2]) > 1:
        height, width = (max(side // 2, 1) for side in chain[-1].shape[:2])
        smaller = cv2.resize(chain[-1], (width, height), interpolation=cv2.INTER_AREA)
        chain.append(np.asarray(smaller, np.uint8).reshape(height, width, 3))
    return chain
