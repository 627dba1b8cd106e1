"""A session's inputs and outputs in buffers that are made once and used at every call, through ONNX Runtime's IO binding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime

Float32 = npt.NDArray[np.float32]


class BoundSession:
    """Runs a session on buffers of this process's memory; a GPU's provider copies from and to them by itself.

    The buffers are made anew only when the sizes of what is fed change, which is when the number of phrases does. Not for several
    threads at once. outputs: names of what is computed, all float32.
    """

    def __init__(self, session: onnxruntime.InferenceSession, outputs: Sequence[str]) -> None:
        self._session, self._names = session, list(outputs)
        self._sizes: dict[str, tuple[int, ...]] = {}
        self._inputs: dict[str, Float32] = {}
        self._outputs: dict[str, Float32] = {}
        self._binding: onnxruntime.IOBinding | None = None

    def run(self, feed: Mapping[str, Float32]) -> dict[str, Float32]:
        """Return the outputs by name. They are the caller's: the next call leaves them alone.

        feed: every input by name. What the session raises, this raises.
        """
        sizes = {name: value.shape for name, value in feed.items()}
        if self._binding is None or sizes != self._sizes:
            return self._bind(feed, sizes)
        for name, value in feed.items():
            np.copyto(self._inputs[name], value)
        self._session.run_with_iobinding(self._binding)
        return {name: value.copy() for name, value in self._outputs.items()}

    def _bind(self, feed: Mapping[str, Float32], sizes: dict[str, tuple[int, ...]]) -> dict[str, Float32]:
        """Run once as it is, which tells how large the outputs are."""
        self._binding = None
        given = self._session.run(self._names, dict(feed))
        found = {name: np.asarray(value) for name, value in zip(self._names, given, strict=True)}
        binding = self._session.io_binding()
        self._inputs = {name: np.ascontiguousarray(value, np.float32).copy() for name, value in feed.items()}
        self._outputs = {name: np.empty(value.shape, np.float32) for name, value in found.items()}
        for name, value in self._inputs.items():
            binding.bind_input(name, "cpu", 0, np.float32, value.shape, value.ctypes.data)
        for name, value in self._outputs.items():
            binding.bind_output(name, "cpu", 0, np.float32, value.shape, value.ctypes.data)
        self._sizes, self._binding = sizes, binding
        return found
