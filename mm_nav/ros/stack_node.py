"""What all nodes of the stack share: lifecycle, parameters, main loop."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from mm_nav.errors import MmNavError
from mm_nav.ros.parameters import ParameterSpec, declare
from mm_nav.ros.transports import set_transports

try:  # since ROS 2 Kilted; it builds no wait set anew for every message
    from rclpy.experimental import EventsExecutor as Executor
except ImportError:
    from rclpy.executors import SingleThreadedExecutor as Executor

AUTOSTART = ParameterSpec("autostart", True, "configure and activate at start, without a lifecycle manager")


class StackNode(LifecycleNode):
    """A lifecycle node. Subclasses give PARAMETERS and implement configure, activate, deactivate and cleanup.

    The steady clock drives watchdogs, since simulated time stops when the simulator dies.
    """

    PARAMETERS: tuple[ParameterSpec, ...] = ()

    def __init__(self, name: str, **arguments: Any) -> None:
        super().__init__(name, **arguments)
        declare(self, (AUTOSTART, *self.PARAMETERS))
        self.steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.active = False

    def value(self, name: str) -> Any:
        """Return a parameter's value."""
        return self.get_parameter(name).value

    def steady_s(self) -> float:
        """Return the steady clock in seconds."""
        return float(self.steady.now().nanoseconds) * 1e-9

    # What subclasses implement. Errors of type MmNavError are logged in one line and fail the transition.

    def configure(self) -> None:
        """Load what is needed, create publishers and subscriptions."""

    def activate(self) -> None:
        """Start timers."""

    def deactivate(self) -> None:
        """Stop timers, and the robot."""

    def cleanup(self) -> None:
        """Undo configure."""

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        return self._transition("configure", self.configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        result = self._transition("activate", self.activate)
        self.active = result == TransitionCallbackReturn.SUCCESS
        return super().on_activate(state) if self.active else result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        self.active = False
        self._transition("deactivate", self.deactivate)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        return self._transition("cleanup", self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        if self.active:
            self.active = False
            self._transition("deactivate", self.deactivate)
        return TransitionCallbackReturn.SUCCESS

    def _transition(self, what: str, action: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            action()
        except MmNavError as error:
            self.get_logger().error(f"{what} failed: {error}")
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def start(self) -> None:
        """Configure and activate when `autostart` is set. Raises MmNavError when that fails."""
        if not self.value("autostart"):
            return
        for what, trigger in (("configure", self.trigger_configure), ("activate", self.trigger_activate)):
            if trigger() != TransitionCallbackReturn.SUCCESS:
                raise MmNavError(f"{self.get_name()} could not {what}; the line above says why")
        self.get_logger().info("active")


def run_node(node_class: Callable[[], StackNode], argv: Sequence[str] | None = None) -> int:
    """Run a node until it is interrupted; return the exit status (2 for bad parameters)."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    set_transports()
    # Our own handling of signals: the robot is stopped before the context goes.
    rclpy.init(args=list(argv) if argv is not None else None, signal_handler_options=SignalHandlerOptions.NO)
    signal.signal(signal.SIGTERM, _interrupt)
    node: StackNode | None = None
    try:
        node = node_class()
        executor = Executor()
        executor.add_node(node)
        node.start()
        # What is there now stays: without this, a look through all of it for garbage holds up a step by 10 ms now and then.
        gc.collect()
        gc.freeze()
        # spin_once in a loop: a multi-threaded executor loses messages at high rates.
        while rclpy.ok():
            executor.spin_once(timeout_sec=0.5)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except MmNavError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    finally:
        if node is not None:
            if node.active:
                node.active = False
                node.deactivate()
            node.destroy_node()
        if rclpy.ok():
            rclpy.shutdown()
    return 0


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
