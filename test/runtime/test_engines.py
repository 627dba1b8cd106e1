"""An engine is used only where it was built from and for the very same; all without a GPU: the provider is played."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from mm_nav.errors import ConfigError, ProviderError
from mm_nav.resources import resource_path
from mm_nav.runtime import accelerated
from mm_nav.runtime.accelerated import open_model
from mm_nav.runtime.engines import EngineCache, Provenance, provider_options
from mm_nav.runtime.gpu import Gpu, find_gpu

MINE = Provenance("a" * 64, "b" * 16, "fp16", 32, "1.22", "10.3.0", "12.6", "540.4.0", "Orin (compute capability 8.7)")
TINY = resource_path("models/tiny.onnx")
ALL = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]


class Builder:
    """Plays TensorRT: writes an engine where there is none. built: how often it did."""

    def __init__(self) -> None:
        self.built = 0

    def __call__(self, folder: Path) -> str:
        engine = folder / "policy_1.engine"
        if not engine.exists():
            self.built += 1
            engine.write_bytes(b"engine %d" % self.built)
        return engine.read_text()


@pytest.fixture
def cache(tmp_path: Path) -> EngineCache:
    return EngineCache(tmp_path)


def test_an_engine_is_built_once(cache: EngineCache) -> None:
    build, said = Builder(), []
    assert cache.open(MINE, build, said.append) == cache.open(MINE, build, said.append) == "engine 1"
    assert build.built == 1 and "there is none yet" in said[0] and "Orin" in said[0]
    assert [path.name for path in cache.root.iterdir()] == [MINE.key]
    record = json.loads((cache.folder(MINE) / "provenance.json").read_text())
    assert record["provenance"]["tensorrt"] == "10.3.0" and list(record["files"]) == ["policy_1.engine"]


@pytest.mark.parametrize(
    "change",
    [{"model": "c" * 64}, {"preprocessing": "d"}, {"precision": "fp32"}, {"phrases": 8}, {"onnxruntime": "1.23"},
     {"tensorrt": "10.7.0"}, {"cuda": "12.8"}, {"driver": "550"}, {"gpu": "Thor"}],
)  # fmt: skip
def test_whatever_differs_another_engine_is_built(cache: EngineCache, change: dict[str, Any]) -> None:
    build, said = Builder(), []
    cache.open(MINE, build)
    assert cache.open(replace(MINE, **change), build, said.append) == "engine 2"
    assert f"another {next(iter(change))}" in said[0]
    assert cache.why_not(MINE) == ""


@pytest.mark.parametrize("harm", ["engine", "missing", "record", "no record", "other record", "no files"])
def test_what_is_not_as_it_was_built_is_built_anew(cache: EngineCache, harm: str) -> None:
    build, said = Builder(), []
    cache.open(MINE, build)
    folder = cache.folder(MINE)
    engine, record = folder / "policy_1.engine", folder / "provenance.json"
    if harm == "engine":
        engine.write_bytes(b"something else")
    elif harm == "missing":
        engine.unlink()
    elif harm == "record":
        record.write_text(record.read_text()[:40])
    elif harm == "no record":
        record.unlink()
    elif harm == "other record":
        record.write_text(record.read_text().replace("10.3.0", "9.9.9"))
    else:
        record.write_text(json.dumps({**json.loads(record.read_text()), "files": {}}))
    assert cache.why_not(MINE)
    assert cache.open(MINE, build, said.append) == "engine 2" and cache.why_not(MINE) == ""
    assert "there is none yet" not in said[0]


def test_a_build_that_fails_leaves_nothing(cache: EngineCache) -> None:
    def fails(folder: Path) -> None:
        (folder / "policy_1.engine").write_bytes(b"half")
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        cache.open(MINE, fails)
    assert not list(cache.root.iterdir()) and cache.why_not(MINE)


def test_without_an_engine_the_session_is_used_and_nothing_kept(cache: EngineCache) -> None:
    said: list[str] = []
    assert cache.open(MINE, lambda folder: "cuda", said.append) == "cuda"
    assert "no engine" in said[-1] and not list(cache.root.iterdir())


def test_options_bound_the_open_axes() -> None:
    options = provider_options(Path("/c"), replace(MINE, precision="int8"), {"language": ["phrases", 24, 384]})
    assert options["trt_profile_min_shapes"] == "language:1x24x384"
    assert options["trt_profile_opt_shapes"] == "language:14x24x384"
    assert options["trt_profile_max_shapes"] == "language:32x24x384"
    assert options["trt_int8_enable"] == options["trt_fp16_enable"] == "1" and options["trt_engine_cache_path"] == "/c"
    assert provider_options(Path("/c"), replace(MINE, precision="fp32"), {})["trt_fp16_enable"] == "0"


def test_a_policy_on_tensorrt_builds_runs_and_reuses(cache: EngineCache, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider is played on the CPU: it gets the options and writes what TensorRT would."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ALL)
    opened: list[dict[str, str]] = []
    real = onnxruntime.InferenceSession

    def plays(path: str, options: object, providers: list[Any]) -> object:
        for provider in providers:
            if provider[0] == ALL[0]:
                opened.append(provider[1])
                Builder()(Path(provider[1]["trt_engine_cache_path"]))
        session = real(path, options, providers=["CPUExecutionProvider"])
        monkeypatch.setattr(session, "get_providers", lambda: ALL)
        return session

    monkeypatch.setattr(onnxruntime, "InferenceSession", plays)
    monkeypatch.setattr(accelerated, "find_gpu", lambda: Gpu("Orin", "540", "12.6", "10.3.0"))
    said: list[str] = []
    for _ in range(2):
        open_model(TINY, "tensorrt", 1, "auto", "p", said.append, cache)
    assert len(opened) == 2 and len(said) == 2 and "fp16" in said[0]
    built, used = (Path(options["trt_engine_cache_path"]) for options in opened)
    assert built.name.endswith(".part") and used.parent == cache.root and not built.exists()
    bounded = opened[0]["trt_profile_max_shapes"]
    assert {item.split(":")[0] for item in bounded.split(",")} == {
        "language",
        "language_mask",
        "pose",
        "goal",
        "goal_present",
    }


def test_a_precision_needs_tensorrt() -> None:
    with pytest.raises(ConfigError, match="TensorRT engine"):
        open_model(TINY, "cpu", 1, "fp16", "p")
    with pytest.raises(ConfigError, match="unknown precision"):
        open_model(TINY, "cpu", 1, "fp8", "p")
    assert open_model(TINY, "cpu", 1, "fp32", "p").get_inputs()


def test_a_provider_that_does_not_work_here_is_refused_or_with_auto_passed_over(
    cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine with onnxruntime-gpu and without a GPU: ONNX Runtime itself would go on with the CPU, and say nothing."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ALL)
    monkeypatch.setattr(accelerated, "find_gpu", Gpu)
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ONNX Runtime's, of providers that this build does not have
        session = open_model(TINY, "auto", 1, "auto", "p", said.append, cache)
        with pytest.raises(ProviderError, match="'cuda' does not work on this machine"):
            open_model(TINY, "cuda", 1, "auto", "p", said.append, cache)
    assert session.get_providers() == ["CPUExecutionProvider"] and not list(cache.root.iterdir())
    assert ["'tensorrt' lacks an NVIDIA GPU" in said[0], "'cuda' does not work" in said[1]] == [True, True]
    with pytest.raises(ProviderError, match="lacks an NVIDIA GPU"):
        open_model(TINY, "tensorrt", 1, "auto", "p", said.append, cache)
    monkeypatch.setattr(accelerated, "find_gpu", lambda: Gpu("H100", "580", "13.0"))
    with pytest.raises(ProviderError, match="lacks TensorRT's library"):
        open_model(TINY, "tensorrt", 1, "auto", "p", said.append, cache)


def test_gpu_facts_come_from_the_libraries() -> None:
    """Played libraries: CUDA's driver and runtime, and TensorRT."""

    class Library:
        def __init__(self, name: str) -> None:
            self.name = name

        def __getattr__(self, function: str) -> Any:
            def call(*arguments: Any) -> int:
                if function == "getInferLibVersion":
                    return 8601 if self.name.endswith("8") else 100_900
                if function == "cudaRuntimeGetVersion":
                    arguments[0]._obj.value = 12_060
                if function == "cuDeviceGetName":
                    arguments[0].value = b"Orin"
                if function == "cuDeviceGetAttribute":
                    arguments[0]._obj.value = {75: 8, 76: 7}[arguments[1]]
                return 0

            return call

    found = find_gpu(Library)  # type: ignore[arg-type]
    assert (found.name, found.cuda, found.tensorrt) == ("Orin (compute capability 8.7)", "12.6", "10.9.0")

    def only_eight(name: str) -> Library:
        if "so.8" not in name:
            raise OSError(name)
        return Library(name)

    assert find_gpu(only_eight).tensorrt == "8.6.1" and find_gpu(only_eight).name == ""  # type: ignore[arg-type]
