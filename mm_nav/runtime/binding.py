"""A session's inputs and outputs in buffers that are made once and used at every call, through ONNX Runtime's IO binding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime

from mm_nav.runtime.session import PROVIDERS

Float32 = npt.NDArray[np.float32]

_GRAPH = "gpu_graph_id"  # of a run: which captured CUDA graph is replayed, or recorded if there is none of that name
_NO_GRAPH = "-1"


class _Buffers(NamedTuple):
    inputs: dict[str, onnxruntime.OrtValue]
    outputs: dict[str, onnxruntime.OrtValue]
    binding: onnxruntime.IOBinding
    options: onnxruntime.RunOptions


class BoundSession:
    """Runs a session on buffers of the processor that computes: this process's memory, or a GPU's.

    There is one set of buffers for each number of phrases that was ever asked, made at the first call with it; a CUDA graph is
    recorded for each, where the session was opened for that. Not for several threads at once.
    """

    def __init__(self, session: onnxruntime.InferenceSession, outputs: Sequence[str]) -> None:
        """outputs: names of what is computed, all float32."""
        self._session, self._names = session, list(outputs)
        first = session.get_providers()[0]
        self._device = "cuda" if first == PROVIDERS["cuda"] else "cpu"
        self.records_graphs = session.get_provider_options()[first].get("enable_cuda_graph") == "1"
        self._sets: dict[tuple[tuple[int, ...], ...], _Buffers] = {}

    def run(self, feed: Mapping[str, Float32]) -> dict[str, Float32]:
        """Return the outputs by name. They are the caller's: the next call leaves them alone.

        feed: every input by name. What the session raises, this raises.
        """
        key = tuple(value.shape for value in feed.values())
        buffers = self._sets.get(key)
        if buffers is None:
            buffers = self._sets[key] = self._new(feed)
        for name, value in feed.items():
            buffers.inputs[name].update_inplace(value)
        self._session.run_with_iobinding(buffers.binding, buffers.options)
        return {name: np.array(value.numpy()) for name, value in buffers.outputs.items()}

    def _new(self, feed: Mapping[str, Float32]) -> _Buffers:
        """Run once as it is, which tells how large the outputs are."""
        given = self._session.run(self._names, dict(feed), _options(_NO_GRAPH))
        make = onnxruntime.OrtValue.ortvalue_from_numpy
        # On the CPU a value made from an array is that array: it must be no one else's.
        inputs = {name: make(np.array(value, np.float32, order="C"), self._device, 0) for name, value in feed.items()}
        outputs = {
            name: make(np.zeros(np.shape(value), np.float32), self._device, 0)
            for name, value in zip(self._names, given, strict=True)
        }
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        return _Buffers(inputs, outputs, binding, _options(str(len(self._sets))))


def _options(graph: str) -> onnxruntime.RunOptions:
    options = onnxruntime.RunOptions()
    options.add_run_config_entry(_GRAPH, graph)
    return options
