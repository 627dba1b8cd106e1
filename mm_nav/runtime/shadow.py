"""A second model that is asked what the first is asked, when there is time for it, and steers nothing."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import numpy as np

from mm_nav.command import PolicyOutput
from mm_nav.errors import ConfigError
from mm_nav.goal import PolicyGoal
from mm_nav.observation import Observation
from mm_nav.runtime.policy import OnnxPolicy

_NICE = 19
_MOST_BYTES = 200_000_000

Question = tuple[Observation, PolicyGoal, PolicyOutput]


class Shadow:
    """Asks `policy` in a thread of the lowest priority; only the newest question waits. Each answer is a line of JSON in `log`:
    stamp_ns, goal_id, visible and shadow_visible, bearing_overlap (of the two distributions), inference_ms and shadow_ms, and
    skipped (questions that were passed over since the line before). Raises ConfigError when the file cannot be written.
    """

    def __init__(self, policy: OnnxPolicy, log: Path) -> None:
        self._policy, self._log = policy, log
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            self._file = log.open("a", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"shadow_log {log} cannot be written ({error.strerror}): give another file") from error
        self._changed = threading.Condition()
        self._question: Question | None = None
        self._skipped, self._closing = 0, False
        self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, observation: Observation, goal: PolicyGoal, output: PolicyOutput) -> None:
        """Give the shadow what was asked and answered; returns at once."""
        with self._changed:
            self._skipped += self._question is not None
            self._question = observation, goal, output
            self._changed.notify()

    def close(self) -> None:
        """Answer what waits, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._file.close()

    def _work(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._question is not None or self._closing)
                if self._question is None:
                    return
                (observation, goal, output), self._question = self._question, None
                skipped, self._skipped = self._skipped, 0
            line = {"stamp_ns": output.stamp_ns, "goal_id": output.goal_id, "skipped": skipped}
            try:
                answer = self._policy(observation, goal)
            except Exception as error:  # a shadow may fail: that is what it is there to find out
                self._write({**line, "error": f"{type(error).__name__}: {error}"})
                continue
            overlap = float(np.minimum(output.bearing_probs, answer.bearing_probs).sum())
            self._write(
                {
                    **line,
                    "visible": round(output.visible, 5),
                    "shadow_visible": round(answer.visible, 5),
                    "bearing_overlap": round(overlap, 5),
                    "inference_ms": round(output.inference_ms, 3),
                    "shadow_ms": round(answer.inference_ms, 3),
                }
            )

    def _write(self, line: dict[str, object]) -> None:
        if self._file.tell() < _MOST_BYTES:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
