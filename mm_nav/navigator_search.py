"""Where the navigator looks next while it does not know where the target is."""

from __future__ import annotations

from mm_nav.geometry import Pose2D
from mm_nav.navigator_config import NavigatorConfig
from mm_nav.navigator_perception import Perception
from mm_nav.navigator_state import StepState
from mm_nav.planning.exploration import Viewpoint, closer_look, find_viewpoints, stay_with
from mm_nav.planning.grid_planner import GridPlanner


def next_view(
    pose: Pose2D, leg: StepState, known: Perception, planner: GridPlanner, config: NavigatorConfig, camera: bool
) -> Viewpoint | None:
    """Return what to look at next; None = nothing is left.

    leg: what was tried and given up; its viewpoint is kept unless another is clearly better. planner: updated for `pose`.
    camera: False = there is none, and the LiDAR explores what is unknown.
    """
    targets = known.targets
    done = leg.viewpoint is not None and leg.viewpoint.is_done(pose)
    if leg.viewpoint is not None and done:
        leg.tried.append(leg.viewpoint)
    doubt = targets.to_look_at(config.look_confidence, config.commit_confidence) if camera else None
    view = closer_look(*doubt, pose, known.grid, planner, leg.blocked) if doubt is not None else None
    if view is not None:
        return view
    hints = targets.hints()
    views = find_viewpoints(known.coverage, planner, pose, known.fov, leg.blocked, leg.tried, hints, camera)
    return stay_with(None if done else leg.viewpoint, views)
