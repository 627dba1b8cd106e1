"""What a goal asks for, step by step, and whether it can be followed."""

from __future__ import annotations

from mm_nav.command import ErrorCode, Stage
from mm_nav.errors import GoalError
from mm_nav.goal import Goal
from mm_nav.language import PICTURE_STEP, Step, parse_instruction
from mm_nav.language.knowledge import Knowledge
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.navigator_perception import Perception
from mm_nav.navigator_recovery import Recovery
from mm_nav.navigator_state import GoalState, Outcome


def steps_of(goal: Goal, has_policy: bool, image_goals: bool) -> tuple[Step, ...]:
    """Return the steps of a goal, after which its pose comes; () = its pose alone. What its picture shows comes after its motions.

    image_goals: whether the policy understands pictures as goals. Raises GoalError when they cannot be followed.
    """
    steps = parse_instruction(goal.instruction) if goal.instruction.strip() else ()
    if goal.image is not None:
        named = next((step.phrase for step in steps if step.phrase), "")
        if named:
            # A phrase is grounded by its words or by a picture: no model was taught both together.
            raise GoalError(
                f"the goal is a picture and names '{named}': leave out the picture, or the words; motions such as 'turn around' "
                "may stand beside a picture"
            )
        if has_policy and not image_goals:
            raise GoalError(
                "the loaded model does not know pictures as goals: give an instruction or a pose instead, or load another model"
            )
        steps = (*steps, PICTURE_STEP)
    if any(step.reference is not None for step in steps) and not has_policy:
        raise GoalError("no policy is loaded, so only poses and motions can be followed: load a model, or give a pose")
    return steps


def refusal(steps: tuple[Step, ...], knowledge: Knowledge) -> str:
    """Return why the words of the steps cannot be followed; "" when they can."""
    for step in steps:
        noun = knowledge.unknown_word(step.reference) if step.reference is not None else None
        if noun is not None:
            return knowledge.refusal(noun)
    return ""


def failure_of(
    goal: Goal, run: GoalState, config: NavigatorConfig, known: Perception, recovery: Recovery, asks: bool, now: float
) -> Outcome | None:
    """Return how the goal fails now, None = it does not. asks: whether the policy is asked for something. now: stamp, s."""
    assert run.started is not None
    if now - run.started > goal.timeout_s:
        return Stage.FAILED, ErrorCode.TIMEOUT, f"not reached within {goal.timeout_s:.0f} s"
    if now - run.last_scan > max(config.scan_timeout_s, config.blind_time_s):
        return Stage.FAILED, ErrorCode.SENSOR_LOST, f"no scan for {now - run.last_scan:.1f} s"
    if asks and now - known.last_policy > known.policy_patience_s:
        return Stage.FAILED, ErrorCode.INFERENCE_LOST, f"no policy output for {now - known.last_policy:.1f} s"
    if recovery.count > config.max_recoveries:
        return Stage.FAILED, ErrorCode.STUCK, f"still stuck after {recovery.count - 1} recoveries"
    return None
