"""A session on the fastest provider there is; with TensorRT, on an engine that is built once and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from mm_nav.errors import ConfigError, ProviderError
from mm_nav.runtime.engines import PRECISIONS, EngineCache, Provenance, provider_options
from mm_nav.runtime.gpu import find_gpu
from mm_nav.runtime.manifest import file_sha256
from mm_nav.runtime.session import PROVIDERS, Provider, open_session, resolve_providers

# Phrases at once. A relation in a sequence asks for a handful, and each may have a dozen rivals.
MOST_PHRASES = 64


def open_model(
    path: Path,
    provider: str,
    threads: int,
    precision: str,
    preprocessing: str,
    say: Callable[[str], None] = lambda text: None,
    cache: EngineCache | None = None,
) -> onnxruntime.InferenceSession:
    """Return a session of a policy's model. It has run once where its first run would be slow.

    provider: tensorrt, cuda, cpu, or auto: the first of these that works on this machine. precision: fp32, fp16 or int8 of a
    TensorRT engine; "auto" = fp16 there. Other providers compute as the file says. preprocessing: fingerprint of what the model
    is fed. say: told of what takes long, and of providers that are there but do not work. Raises ConfigError for a provider or
    precision that is unknown, does not work here, or needs TensorRT where it is not used; ModelError by the file.
    """
    if precision != "auto" and precision not in PRECISIONS:
        raise ConfigError(f"unknown precision '{precision}': give auto, {', '.join(PRECISIONS)}")
    providers = resolve_providers(provider)
    while True:
        try:
            return _open(path, providers, threads, precision, preprocessing, say, cache)
        except ProviderError as error:
            if provider != "auto":
                raise
            say(str(error))
            providers = providers[1:]


def _open(
    path: Path,
    providers: Sequence[str],
    threads: int,
    precision: str,
    preprocessing: str,
    say: Callable[[str], None],
    cache: EngineCache | None,
) -> onnxruntime.InferenceSession:
    if providers[0] != PROVIDERS["tensorrt"]:
        if precision not in ("auto", "fp32"):
            raise ConfigError(
                f"precision {precision} is that of a TensorRT engine, but {providers[0]} is used, which computes as {path.name} "
                "says: choose provider tensorrt, precision auto, or another model"
            )
        return open_session(path, providers, threads)
    shapes = {item.name: list(item.shape) for item in open_session(path, [PROVIDERS["cpu"]]).get_inputs()}
    open_shapes = {name: shape for name, shape in shapes.items() if any(not isinstance(n, int) for n in shape)}
    gpu = find_gpu()
    if not (gpu.name and gpu.tensorrt):
        lacking = "TensorRT's library (libnvinfer)" if gpu.name else "an NVIDIA GPU (with its driver, libcuda)"
        raise ProviderError(f"provider 'tensorrt' lacks {lacking} on this machine: install it, or choose provider auto")
    provenance = Provenance(
        model=file_sha256(path),
        preprocessing=preprocessing,
        precision="fp16" if precision == "auto" else precision,
        phrases=MOST_PHRASES,
        onnxruntime=onnxruntime.__version__,
        tensorrt=gpu.tensorrt,
        cuda=gpu.cuda,
        driver=gpu.driver,
        gpu=gpu.name,
    )

    def make(folder: Path) -> onnxruntime.InferenceSession:
        first: Provider = (providers[0], provider_options(folder, provenance, open_shapes))
        session = open_session(path, [first, *providers[1:]], threads)
        one = {
            name: np.zeros([n if isinstance(n, int) else 1 for n in shape], np.float32)
            for name, shape in shapes.items()
        }
        session.run(None, one)
        return session

    return (cache or EngineCache()).open(provenance, make, say)
