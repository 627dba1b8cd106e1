"""The policy in PyTorch behind the same interface as the exported one: shows that the export changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mm_nav.errors import ModelError
from mm_nav.learning.export import ExportedPolicy
from mm_nav.learning.train import load_policy
from mm_nav.runtime.policy import INPUTS, OUTPUTS, OnnxPolicy


class TorchPolicy(OnnxPolicy):
    """A PolicySource that runs a checkpoint in PyTorch, with the preprocessing and the memory of the exported model.

    checkpoint: of the run that `model` was exported from. Raises ModelError when they are not the same network.
    """

    def __init__(self, checkpoint: Path, model: Path, memory: bool = True) -> None:
        super().__init__(model, provider="cpu", memory=memory)
        network = load_policy(checkpoint)
        if network.config != self.config:
            raise ModelError(f"{checkpoint} and {model} are of different networks: export the checkpoint again")
        self._module = ExportedPolicy(network).eval()

    def run(self, feed: dict[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the network's outputs by name, for inputs by name."""
        with torch.no_grad():
            given = self._module(*(torch.from_numpy(np.ascontiguousarray(feed[name])) for name in INPUTS))
        return {name: value.numpy() for name, value in zip(OUTPUTS, given, strict=True)}
