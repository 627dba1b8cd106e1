"""A context of rclpy for library code: it leaves the user's own, and the handlers of signals, as they are."""

from __future__ import annotations

import threading
from typing import Any

import rclpy
from action_msgs.srv import CancelGoal
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.utilities import get_default_context

from mm_nav.ros.transports import set_transports

# One for all that ask, and how many use it.
_lock = threading.Lock()
_shared: tuple[Context, int] | None = None
# On a busy machine a server is found late, and an answer may be lost; to ask again does no harm.
_FOUND_S, _ANSWERED_S, _TRIES = 5.0, 1.5, 3


def open_context() -> Context:
    """Return the user's context where it is initialised, else one of this module; give it back with close_context."""
    global _shared
    with _lock:
        if get_default_context().ok():
            return get_default_context()
        context, users = _shared if _shared is not None and _shared[0].ok() else (Context(), 0)
        if users == 0:
            set_transports()
            context.init()
        _shared = context, users + 1
        return context


def close_context(context: Context) -> None:
    """Shut a context down when nobody uses it any more; the user's is left alone."""
    global _shared
    with _lock:
        if _shared is None or context is not _shared[0]:
            return
        _shared = (context, _shared[1] - 1) if _shared[1] > 1 else None
        if _shared is None:
            context.try_shutdown()


def cancel_from_elsewhere(action: str, goal_id: Any) -> bool:
    """Cancel a goal by way of a new context; return whether its server answered. action: its name with the namespace.

    For when the contexts there were are gone: the handler of Ctrl-C that rclpy.init() installs shuts all of them down.
    """
    context = Context()
    context.init(initialize_logging=False)
    try:
        node = rclpy.create_node("mm_nav_client_end", context=context, start_parameter_services=False)
        client = node.create_client(CancelGoal, f"{action}/_action/cancel_goal")
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        request = CancelGoal.Request()
        request.goal_info.goal_id = goal_id
        answered, tries = False, _TRIES if client.wait_for_service(timeout_sec=_FOUND_S) else 0
        while tries > 0 and not answered:
            answer = client.call_async(request)
            executor.spin_until_future_complete(answer, timeout_sec=_ANSWERED_S)
            answered, tries = bool(answer.done()), tries - 1
        executor.shutdown()
        node.destroy_node()
        return answered
    finally:
        context.shutdown()
