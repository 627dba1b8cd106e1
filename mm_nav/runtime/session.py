"""ONNX Runtime sessions with one thread, and providers chosen by name."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Sequence
from pathlib import Path

import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from mm_nav.errors import ConfigError, ModelError, ProviderError

# Spinning worker threads turn a 10 ms step into a 774 ms one when a core is busy elsewhere (docs/architecture.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}


# TensorFloat-32 keeps 10 bits of each factor: answers would differ by 1e-3 from those of other providers, without it by 1e-6.
_EXACT = {"use_tf32": "0"}
# A provider's name in ONNX Runtime, or that and its options.
Provider = str | tuple[str, dict[str, str]]


def resolve_providers(provider: str = "auto") -> list[str]:
    """Return ONNX Runtime provider names for "auto", "tensorrt", "cuda" or "cpu"; CPU is always the last resort.

    Raises ConfigError when the name is unknown or this ONNX Runtime was built without that provider.
    """
    available = onnxruntime.get_available_providers()
    if provider == "auto":
        return [name for name in PROVIDERS.values() if name in available]
    if provider not in PROVIDERS:
        raise ConfigError(f"unknown provider '{provider}'; use auto, {', '.join(PROVIDERS)}")
    if PROVIDERS[provider] not in available:
        raise ConfigError(
            f"provider '{provider}' is not in this ONNX Runtime (it has {', '.join(available)}): "
            "install onnxruntime-gpu (pip install 'mm_nav[gpu]') or choose provider auto"
        )
    return list(dict.fromkeys([PROVIDERS[provider], PROVIDERS["cpu"]]))


def open_session(
    path: Path,
    providers: Sequence[Provider],
    threads: int = 1,
    profile: Path | None = None,
    as_written: bool = False,
) -> onnxruntime.InferenceSession:
    """Open `path` with `threads` threads that sleep while idle. Raises ModelError when it is missing or broken, ProviderError
    when the first of the providers does not work on this machine: ONNX Runtime itself would go on with the next.

    profile: how the file begins that the session's `end_profiling` writes; None = it keeps no profile. as_written: the
    graph is run nearly as the file has it, not laid out for this processor: slower, but it can be counted.
    """
    if not path.is_file():
        raise ModelError(f"model file {path} does not exist: run `mm-nav train` and `mm-nav export`, or check the path")
    options = _session_options(threads, profile, as_written)
    first = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if first != PROVIDERS["cpu"]:
        _load_cuda()
    session = _create(path, options, providers)
    if first not in session.get_providers():
        name = next(name for name, theirs in PROVIDERS.items() if theirs == first)
        needs = "an NVIDIA GPU, its driver, CUDA and cuDNN" + (" and TensorRT" if name == "tensorrt" else "")
        raise ProviderError(
            f"provider '{name}' does not work on this machine, which ONNX Runtime's own messages explain: it needs {needs} of the "
            "versions that this ONNX Runtime was built for; install those, or choose provider auto"
        )
    return session


def _session_options(threads: int, profile: Path | None, as_written: bool) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if as_written:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry("session.disable_prepacking", "1")
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _create(
    path: Path, options: onnxruntime.SessionOptions, providers: Sequence[Provider]
) -> onnxruntime.InferenceSession:
    """Return the session; of CUDA one that records graphs, where it can."""
    cuda = PROVIDERS["cuda"]

    def create(settings: dict[str, str]) -> onnxruntime.InferenceSession:
        wanted = [(name, settings) if name == cuda else name for name in providers]
        return onnxruntime.InferenceSession(str(path), options, providers=wanted)

    try:
        if providers[0] == cuda:
            # A network with an operator that CUDA lacks cannot be a graph.
            with contextlib.suppress(Fail):
                return create({**_EXACT, "enable_cuda_graph": "1"})
        return create(_EXACT)
    except Exception as error:  # onnxruntime raises its own undocumented exception types
        reason = str(error).splitlines()[0]
        raise ModelError(f"{path} is not a usable ONNX model ({reason}): export it again") from error


@functools.cache
def _load_cuda() -> None:
    """Load CUDA's libraries where they came as Python packages, which no loader's path names. It prints what it misses; a session
    that cannot do without says so itself."""
    preload = getattr(onnxruntime, "preload_dlls", None)  # since ONNX Runtime 1.21
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()):
            preload()
