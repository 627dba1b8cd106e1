"""What changes from step to step of a replay, in words: the lines of a log panel."""

from __future__ import annotations

from typing import Literal, NamedTuple

from mm_nav.command import ErrorCode, Stage
from mm_nav.replay.records import ReplayStep
from mm_nav.safety.guard import GuardResult

Level = Literal["INFO", "WARN", "ERROR"]


class Change(NamedTuple):
    """One line. source: navigator, guard (of the stack's command) or recorded_guard (of what the robot did)."""

    level: Level
    source: str
    text: str


class Changes:
    """Turns steps into the few lines worth reading; a stop is told when it begins, not again while it lasts."""

    def __init__(self) -> None:
        self._stage: Stage | None = None
        self._step_text = ""
        self._degraded: tuple[str, ...] = ()
        self._stopped: dict[str, bool] = {}

    def __call__(self, step: ReplayStep) -> list[Change]:
        """Return what changed since the step before."""
        command, progress, found = step.command, step.progress, list[Change]()
        if command.stage is not self._stage:
            found.append(Change("INFO", "navigator", command.stage.value))
        if progress.step_text and progress.step_text != self._step_text:
            number = f"step {progress.step_index + 1} of {progress.step_count}"
            found.append(Change("INFO", "navigator", f"{number}: {progress.step_text}"))
        if command.degraded != self._degraded:
            text = f"without {', '.join(command.degraded)}" if command.degraded else "all inputs again"
            found.append(Change("WARN" if command.degraded else "INFO", "navigator", text))
        if command.message:
            level: Level = "ERROR" if command.error is not ErrorCode.NONE else "INFO"
            found.append(Change(level, "navigator", command.message))
        self._stage, self._step_text, self._degraded = command.stage, progress.step_text, command.degraded
        for source, what, result in (
            ("guard", "stops the stack", step.guarded),
            ("recorded_guard", "would have stopped the recorded robot", step.recorded),
        ):
            if stops(result) and not self._stopped.get(source):
                found.append(Change("WARN", source, f"{what}: {result.reason}"))
            self._stopped[source] = stops(result)
        return found


def stops(result: GuardResult) -> bool:
    """Whether the guard left nothing of a motion that was asked for."""
    return result.limited and result.twist.linear == result.twist.lateral == result.twist.angular == 0.0
