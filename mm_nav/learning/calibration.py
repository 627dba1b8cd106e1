"""Confidences that mean what they say: temperature scaling (Guo et al. 2017) and how well it fits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar

Floats = npt.NDArray[np.float64]
_LIMITS = (0.2, 8.0)


def fit_temperature(logits: Floats, labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature that makes the labels likeliest; 1 when there are none.

    logits: (N, classes). labels: (N,) class indices. A yes-or-no logit z is the pair (0, z).
    """
    if len(labels) == 0:
        return 1.0

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        top = scaled.max(axis=1)
        total = top + np.log(np.exp(scaled - top[:, None]).sum(axis=1))
        return float((total - scaled[np.arange(len(labels)), labels]).mean())

    found = minimize_scalar(loss, bounds=tuple(np.log(_LIMITS)), method="bounded")
    return float(np.exp(found.x))


def binary(logits: Floats) -> Floats:
    """Return yes-or-no logits (N,) as those of two classes (N, 2)."""
    return np.stack([np.zeros_like(logits), logits], axis=1)


def reliability(probabilities: Floats, happened: npt.NDArray[np.bool_], bins: int = 10) -> list[dict[str, float]]:
    """Return for each of equally wide bins that holds any: mean confidence, frequency of what was predicted, count."""
    which = np.minimum((probabilities * bins).astype(int), bins - 1)
    return [
        {
            "confidence": round(float(probabilities[which == k].mean()), 5),
            "frequency": round(float(happened[which == k].mean()), 5),
            "count": int((which == k).sum()),
        }
        for k in range(bins)
        if (which == k).any()
    ]


def expected_error(table: list[dict[str, float]]) -> float:
    """Return the expected calibration error of a table of `reliability`."""
    total = sum(row["count"] for row in table)
    return sum(row["count"] * abs(row["confidence"] - row["frequency"]) for row in table) / max(1, total)


def calibrate(logits: Floats, happened: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Fit a temperature on the first half of yes-or-no logits (N,), and say on the other how well it fits.

    Returns temperature, before and after (tables of `reliability`), ece_before and ece_after.
    """
    fit, rest = slice(None, len(logits) // 2), slice(len(logits) // 2, None)
    temperature = fit_temperature(binary(logits[fit]), happened[fit].astype(np.int64))
    before = reliability(_sigmoid(logits[rest]), happened[rest])
    after = reliability(_sigmoid(logits[rest] / temperature), happened[rest])
    return {
        "temperature": round(temperature, 4),
        "before": before,
        "after": after,
        "ece_before": round(expected_error(before), 5),
        "ece_after": round(expected_error(after), 5),
    }


def _sigmoid(values: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -40.0, 40.0))))
