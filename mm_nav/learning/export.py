"""Export a trained policy to ONNX, with its manifest, after checking that ONNX Runtime and PyTorch agree."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from mm_nav.errors import ModelError
from mm_nav.policy.config import PolicyConfig
from mm_nav.policy.model import CrossModalPolicy, PolicyInputs
from mm_nav.runtime.accelerated import MOST_PHRASES
from mm_nav.runtime.manifest import Manifest, file_sha256, manifest_path
from mm_nav.runtime.policy import INPUTS, OF_PHRASES, OUTPUTS
from mm_nav.runtime.preprocess import preprocessing_fingerprint
from mm_nav.runtime.session import open_session
from mm_nav.sim.catalogue import COLOURS
from mm_nav.sim.catalogue_extra import ALL_CATEGORIES
from mm_nav.sim.splits import HELD_OUT_PAIRS

PARITY_TOLERANCE = 1e-4


class ExportedPolicy(nn.Module):
    """The policy with its post-processing, so that the graph gives what PolicyOutput holds: one observation, any number of
    phrases."""

    def __init__(self, policy: CrossModalPolicy) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Take the arrays named in INPUTS, give those named in OUTPUTS."""
        logits = self.policy(PolicyInputs(*inputs))
        hot = self.policy.temperatures
        heatmap = torch.softmax(logits.cells.flatten(1), dim=1).reshape(logits.cells.shape)
        bearing_probs = heatmap.sum(1)
        # Range of a column: that of its cells, weighted by how likely the target is in each.
        log_range = (heatmap * logits.log_range).sum(1) / bearing_probs.clamp_min(1e-9)
        return (
            bearing_probs,
            log_range.clamp(-3.0, 3.5).exp(),
            heatmap,
            torch.sigmoid(logits.visible / hot.visible),
            torch.sigmoid(logits.arrived / hot.arrived),
            logits.waypoints,
            torch.softmax(logits.waypoint / hot.waypoint, dim=1),
            logits.notes,
        )


def example_inputs(config: PolicyConfig, seed: int = 0, phrases: int = 1) -> dict[str, Tensor]:
    """Return random but plausible inputs of one observation and some phrases, by name."""
    c, g = config, torch.Generator().manual_seed(seed)
    rays = torch.randn(1, c.camera_tokens, 3, generator=g)
    rays[..., 0] = rays[..., 0].abs() + 1.0
    mask = torch.zeros(phrases, c.language_tokens)
    mask[:, :6] = 1.0
    present = (torch.rand(1, c.memory_frames, generator=g) < 0.7).float()
    values = (
        torch.rand(1, 3, c.image_height, c.image_width, generator=g),
        torch.ones(1, 1),
        torch.nn.functional.normalize(rays, dim=-1),
        torch.rand(1, c.lidar_bins, generator=g) * c.max_range_m,
        torch.ones(1, c.lidar_bins),
        torch.randn(1, c.memory_frames, c.memory_tokens, c.width, generator=g),
        torch.randn(1, c.memory_frames, 3, generator=g),
        present,
        torch.randn(phrases, c.language_tokens, c.language_width, generator=g),
        mask,
        torch.tensor([[1.0, 2.0, -1.0]]).expand(phrases, -1).contiguous(),
        torch.randn(phrases, c.goal_tokens, c.width, generator=g),
        (torch.arange(phrases) % 2).float()[:, None],
    )
    return dict(zip(INPUTS, values, strict=True))


def export_policy(
    policy: CrossModalPolicy,
    output: Path,
    training: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> float:
    """Write `output` (.onnx) and its manifest; return the largest difference between PyTorch and ONNX Runtime.

    Batch 1, and one dynamic axis: the phrases, 1 to MOST_PHRASES. Raises ModelError when the two differ by more than
    PARITY_TOLERANCE; nothing is left at `output` then.
    """
    module = ExportedPolicy(policy).eval()
    inputs = example_inputs(policy.config, phrases=3)
    phrases = torch.export.Dim("phrases", min=1, max=MOST_PHRASES)
    dynamic = tuple({0: phrases} if name in OF_PHRASES else None for name in inputs)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_suffix(".part.onnx")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(part),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_shapes=(dynamic,),
            opset_version=18,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    strip_traces(part)
    difference = parity(module, part, policy.config)
    if not difference <= PARITY_TOLERANCE:
        part.unlink()
        raise ModelError(
            f"ONNX Runtime differs from PyTorch by {difference:.2e} (allowed {PARITY_TOLERANCE}): not exported"
        )
    part.replace(output)
    Manifest(
        name=output.stem,
        model_sha256=file_sha256(output),
        config=policy.config.to_dict(),
        preprocessing=preprocessing_fingerprint(policy.config),
        training=dict(training or {}),
        metrics={**(metrics or {}), "onnx_parity": difference},
        categories=tuple(ALL_CATEGORIES),
        colours=tuple(COLOURS),
        untaught=tuple(sorted(f"{colour} {category}" for category, colour in HELD_OUT_PAIRS)),
    ).write(manifest_path(output))
    return difference


def strip_traces(model: Path) -> None:
    """Remove the exporter's notes from an ONNX file: they name source files of the machine that it ran on."""
    proto = onnx.load(model)
    for graph in (proto.graph, *proto.functions):
        graph.doc_string = ""
        for item in (*graph.node, *getattr(graph, "value_info", ()), *getattr(graph, "initializer", ())):
            item.doc_string = ""
            if hasattr(item, "metadata_props"):
                del item.metadata_props[:]
        del graph.metadata_props[:]
    del proto.metadata_props[:]
    onnx.save(proto, model)


def parity(module: ExportedPolicy, model: Path, config: PolicyConfig, trials: int = 3) -> float:
    """Return the largest absolute difference over all outputs and `trials` random inputs."""
    session = open_session(model, ["CPUExecutionProvider"])
    worst = 0.0
    for seed in range(trials):
        inputs = example_inputs(config, seed, phrases=1 + 2 * seed)
        with torch.no_grad():
            expected = module(*inputs.values())
        given = session.run(list(OUTPUTS), {name: value.numpy() for name, value in inputs.items()})
        for a, b in zip(expected, given, strict=True):
            worst = max(worst, float(np.max(np.abs(a.numpy() - b))))
    return worst
