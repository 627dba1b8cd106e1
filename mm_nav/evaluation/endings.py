"""How an episode ended, in a few words that can be counted."""

from __future__ import annotations

from mm_nav.command import ErrorCode
from mm_nav.evaluation.episodes import EpisodeResult
from mm_nav.sim.objects import name_parts


def ending(result: EpisodeResult) -> str:
    """Return why an episode failed: a collision, what it wrongly stopped at, or the name of the error."""
    if result.collided:
        return "collision"
    if result.stage == "succeeded":
        return f"stopped at {_mistake(result)}"
    return ErrorCode(result.error_code).name.lower().replace("_", " ")


def _mistake(result: EpisodeResult) -> str:
    """What the object that the robot stopped at shares with what was asked for."""
    category, colour = name_parts(result.ended_at)
    asked = [name_parts(name) for name in result.targets]
    if result.ended_at in result.targets:
        return "the right object, but too far away, moving, or out of order"
    if category in {kind for kind, _ in asked}:
        return "an object of the right category and another colour"
    if colour in {shade for _, shade in asked}:
        return "an object of the right colour and another category"
    return "an object of another category and colour"
