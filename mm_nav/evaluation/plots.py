"""Plots of the reports. Matplotlib is an extra: only who asks for a report needs it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError

_COLOURS = ("#2a6fbb", "#c2683a", "#7a7a7a", "#3f8f5f")


def pyplot() -> ModuleType:
    """Return matplotlib.pyplot, drawing to files. Raises ConfigError when matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError("reports need matplotlib: run pip install 'mm_nav[view]', or leave --report out") from error
    matplotlib.use("Agg")
    return importlib.import_module("matplotlib.pyplot")


def rate_bars(path: Path, groups: Sequence[str], series: Mapping[str, Sequence[tuple[float, float, float]]]) -> None:
    """Draw grouped bars with intervals. series: name -> per group (rate, low, high), in [0, 1], nan = no bar."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(1.6 + 1.5 * len(groups), 3.6))
    width = 0.8 / max(1, len(series))
    for i, (name, rates) in enumerate(series.items()):
        x = np.arange(len(groups)) + (i - (len(series) - 1) / 2) * width
        value, low, high = (100 * np.array(column, float) for column in zip(*rates, strict=True))
        errors = np.nan_to_num(np.clip(np.stack([value - low, high - value]), 0, None))
        colour = _COLOURS[i % len(_COLOURS)]
        axes.bar(x, np.nan_to_num(value), width * 0.92, yerr=errors, capsize=3, color=colour, label=name)
    axes.set_xticks(np.arange(len(groups)), groups)
    axes.set_ylim(0, 105)
    axes.set_ylabel("success, % (95 % interval)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=len(series), loc="upper center", bbox_to_anchor=(0.5, 1.16))
    save(plt, figure, path)


def episode_map(
    path: Path,
    occupied: npt.NDArray[np.bool_],
    bounds: tuple[float, float, float, float],
    driven: npt.NDArray[np.float64],
    targets: Sequence[npt.NDArray[np.float64]],
    others: Sequence[tuple[str, npt.NDArray[np.float64]]],
    title: str,
) -> None:
    """Draw a world from above with the driven path.

    occupied: (H, W), row 0 at the bottom, over bounds (x0, y0, x1, y1). driven: (N, 3) x, y, yaw. targets: footprints
    (K, 2) of what was asked for. others: names and footprints of the rest. World frame, metres.
    """
    plt = pyplot()
    x0, y0, x1, y1 = bounds
    figure, axes = plt.subplots(figsize=(6.0, max(2.5, 6.0 * (y1 - y0) / max(1e-6, x1 - x0))))
    axes.imshow(occupied, origin="lower", extent=(x0, x1, y0, y1), cmap="Greys", vmin=0, vmax=2.5)
    for name, footprint in others:
        axes.fill(*footprint.T, color="#9db7d5", alpha=0.8)
        axes.annotate(name, footprint.mean(axis=0), fontsize=5, ha="center", color="#333333")
    for footprint in targets:
        axes.fill(*footprint.T, facecolor="#e0a43a", edgecolor="#7a4b00", linewidth=1.5)
    axes.plot(driven[:, 0], driven[:, 1], color=_COLOURS[0], linewidth=1.4)
    axes.plot(*driven[0, :2], "o", color=_COLOURS[3], markersize=6)
    axes.plot(*driven[-1, :2], "s", color=_COLOURS[1], markersize=6)
    axes.set_title(title, fontsize=8, wrap=True)
    axes.set_xlabel("x, m")
    axes.set_ylabel("y, m")
    axes.set_aspect("equal")
    save(plt, figure, path)


def save(plt: Any, figure: Any, path: Path) -> None:
    """Write a figure to a PNG file and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, bbox_inches="tight")
    plt.close(figure)
