"""An exported model in int8: weights and activations in eight bits, with ranges taken from frames that were really seen."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from mm_nav.errors import ConfigError, ModelError
from mm_nav.language.encoder import TextEncoder
from mm_nav.learning.dataset import FrameDataset
from mm_nav.learning.export import strip_traces
from mm_nav.learning.phrases import PhraseBank
from mm_nav.runtime.manifest import file_sha256, load_manifest, manifest_path
from mm_nav.runtime.policy import OnnxPolicy
from mm_nav.runtime.session import open_session

# What takes nearly all of the time; the rest stays in floating point.
_KINDS = ["Conv", "MatMul", "Gemm"]
_PHRASES = 3
Feed = dict[str, npt.NDArray[np.float32]]
Progress = Callable[[int, int], None]


def quantize_policy(
    model: Path,
    shards: Sequence[Path],
    output: Path,
    frames: int = 200,
    seed: int = 0,
    progress: Progress = lambda done, of: None,
) -> dict[str, float]:
    """Write `output` (.onnx) and its manifest: `model` in int8. Returns how far the two differ on as many other frames.

    shards: frames to take the ranges from (`mm-nav collect`, `mm-nav dagger`). visible_difference: mean absolute difference of
    "in view"; visible_flips: share of phrases that only one of them calls in view; bearing_overlap: of the two's distributions, for
    what both see. Raises ConfigError when the frames are too few or the model is in int8 already, ModelError by the model. Nothing
    is left at `output` when anything fails.
    """
    manifest, config = load_manifest(model)
    if manifest.precision != "fp32":
        raise ConfigError(f"{model} is in {manifest.precision} already: give the model that it was made from")
    data = FrameDataset(shards, config)
    if len(data) < 2 * frames:
        raise ConfigError(
            f"{len(data)} frames are too few for --frames {frames}: collect more, or give at most {len(data) // 2}"
        )
    drawn = np.random.default_rng([seed, 15]).choice(len(data), 2 * frames, replace=False)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_suffix(".part.onnx")
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logging.getLogger().setLevel(logging.ERROR)
            prepared = Path(folder) / "prepared.onnx"
            quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
            reader = _Reader(_feeds(model, data, drawn[:frames], seed), frames, progress)
            quantize_static(
                str(prepared), str(part), reader, quant_format=QuantFormat.QDQ, op_types_to_quantize=_KINDS,
                per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
        strip_traces(part)
        found = _compare(model, part, _feeds(model, data, drawn[frames:], seed + 1))
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    training = {**manifest.training, "quantized_from": manifest.model_sha256, "calibration_frames": frames}
    replace(
        manifest, name=output.stem, model_sha256=file_sha256(output), precision="int8", training=training,
        metrics={**manifest.metrics, "int8": found},
    ).write(manifest_path(output))  # fmt: skip
    return found


class _Reader(CalibrationDataReader):
    """What the quantiser asks for inputs, one frame after the other."""

    def __init__(self, feeds: Iterator[Feed], count: int, progress: Progress) -> None:
        self._feeds, self._count, self._progress, self._done = feeds, count, progress, 0

    def get_next(self) -> Feed | None:
        """Return the next frame's inputs, None after the last."""
        feed = next(self._feeds, None)
        self._done += feed is not None
        self._progress(self._done, self._count)
        return feed


def _feeds(model: Path, data: FrameDataset, frames: npt.NDArray[np.int64], seed: int) -> Iterator[Feed]:
    """Yield inputs of each frame: phrases for what is there, near misses, and what the frame before it is remembered by."""
    policy = OnnxPolicy(model, provider="cpu", memory=False, rivals=False)
    c, bank, rng = data.config, PhraseBank(), np.random.default_rng([seed, 16])
    encoder = TextEncoder(c.language_tokens, parts=c.language_parts)
    notes = np.zeros((c.memory_tokens, c.width), np.float32)
    for frame in frames:
        a, objects = data.arrays, data.objects[data.arrays["world"][frame]]
        seen = [objects[number - 1] for number in np.unique(a["numbers"][frame]) if 0 < number <= len(objects)]
        drawn = [bank.anything(rng) for _ in range(_PHRASES)]
        if seen:
            item = seen[int(rng.integers(len(seen)))]
            drawn[:2] = [bank.describe(rng, item), bank.near_miss(rng, item, seen)]
        words = [encoder.encode(phrase) for phrase, _, _ in drawn]
        memory = np.zeros((1, c.memory_frames, c.memory_tokens, c.width), np.float32)
        memory[0, 0], present = notes, np.zeros((1, c.memory_frames), np.float32)
        present[0, 0] = 1.0
        pose = np.zeros((1, c.memory_frames, 3), np.float32)
        pose[0, 0] = rng.normal(0.0, (0.8, 0.8, 0.6))
        feed = policy.nothing(_PHRASES) | {
            "image": a["image"][frame].transpose(2, 0, 1)[None].astype(np.float32) / 255.0,
            "image_present": np.ones((1, 1), np.float32),
            "rays": a["rays"][frame][None].astype(np.float32),
            "ranges": a["ranges"][frame][None].astype(np.float32),
            "ranges_valid": a["ranges_valid"][frame][None].astype(np.float32),
            "memory": memory,
            "memory_pose": pose,
            "memory_present": present,
            "language": np.stack([embedded for embedded, _ in words]),
            "language_mask": np.stack([mask for _, mask in words]),
        }
        notes = policy.run(feed)["notes"][0, : c.memory_tokens]
        yield feed


def _compare(model: Path, other: Path, feeds: Iterator[Feed]) -> dict[str, float]:
    sessions = [open_session(path, ["CPUExecutionProvider"]) for path in (model, other)]
    differences, flips, overlaps = [], [], []
    for feed in feeds:
        one, two = (session.run(["visible", "bearing_probs"], feed) for session in sessions)
        if not all(np.isfinite(value).all() for value in two):
            raise ModelError(f"{model.name} in int8 gives numbers that are not finite: it cannot be used")
        differences.extend(np.abs(one[0] - two[0]))
        flips.extend((one[0] > 0.5) != (two[0] > 0.5))
        both = (one[0] > 0.5) & (two[0] > 0.5)
        overlaps.extend(np.minimum(one[1], two[1]).sum(axis=1)[both])
    return {
        "visible_difference": round(float(np.mean(differences)), 5),
        "visible_flips": round(float(np.mean(flips)), 5),
        "bearing_overlap": round(float(np.mean(overlaps)), 5) if overlaps else float("nan"),
    }
