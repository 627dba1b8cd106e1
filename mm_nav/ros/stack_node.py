"""What all nodes of the stack share: lifecycle, parameters, main loop."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from mm_nav.errors import ConfigError, MmNavError
from mm_nav.ros.parameters import ParameterSpec, changed, declare
from mm_nav.ros.transports import set_transports

try:  # since ROS 2 Kilted; it builds no wait set anew for every message
    from rclpy.experimental import EventsExecutor as Executor
except ImportError:
    from rclpy.executors import SingleThreadedExecutor as Executor

AUTOSTART = ParameterSpec("autostart", True, "configure and activate at start, without a lifecycle manager")
# What a node holds of rclpy, and what takes it away again. Timers first, so that none fires at what is gone.
_HOLDINGS = (
    ("timers", "destroy_timer"), ("subscriptions", "destroy_subscription"), ("services", "destroy_service"),
    ("clients", "destroy_client"), ("guards", "destroy_guard_condition"), ("publishers", "destroy_publisher"),
)  # fmt: skip
_LAST_WORDS_S = 0.2

Held = dict[int, tuple[str, Any]]


class StackNode(LifecycleNode):
    """A lifecycle node. Subclasses give PARAMETERS and implement configure, activate, deactivate and cleanup.

    Publishers, subscriptions, services, timers and guard conditions that configure creates are destroyed at cleanup, and those that
    activate creates at deactivation, whether these succeed or not; a node's own cleanup drops only what else it holds. Parameters
    count from one configure to the next. An unexpected exception leaves the node unconfigured, with the robot stopped.

    The steady clock drives watchdogs, since simulated time stops when the simulator dies.
    """

    PARAMETERS: tuple[ParameterSpec, ...] = ()

    def __init__(self, name: str, **arguments: Any) -> None:
        try:
            super().__init__(name, **arguments)
        except ParameterException as error:  # of a parameter that is rclpy's own, such as use_sim_time
            raise ConfigError(f"{name}: {error}") from error
        self._specs = declare(self, (AUTOSTART, *self.PARAMETERS))
        self.steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.active = False
        self.freezes = False  # its process's, see run_node
        self._values: dict[str, Any] = {}
        self._configured: Held = {}
        self._activated: Held = {}

    def value(self, name: str) -> Any:
        """Return a parameter's value: the one it had when the node was configured, if it is."""
        return self._values[name] if name in self._values else self.get_parameter(name).value

    def steady_s(self) -> float:
        """Return the steady clock in seconds."""
        return float(self.steady.now().nanoseconds) * 1e-9

    # What subclasses implement. Errors of type MmNavError are logged in one line and fail the transition.

    def configure(self) -> None:
        """Load what is needed, create publishers and subscriptions."""

    def activate(self) -> None:
        """Create timers."""

    def deactivate(self) -> None:
        """Stop the robot; the timers are gone already."""

    def cleanup(self) -> None:
        """Drop what configure made beside entities of rclpy, whatever it has come to."""

    # Parameters

    def set_parameters(self, parameter_list: list[Parameter[Any]]) -> list[SetParametersResult]:
        """Set each; what is not allowed is refused with a reason, where rclpy would raise for some."""
        return [self.set_parameters_atomically([parameter]) for parameter in parameter_list]

    def set_parameters_atomically(self, parameter_list: list[Parameter[Any]]) -> SetParametersResult:
        """Set all or none; what is not allowed is refused with a reason."""
        try:
            wanted = [changed(self._specs, parameter, self.active) for parameter in parameter_list]
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        result = super().set_parameters_atomically(wanted)
        if result.successful and any(parameter.name in self._values for parameter in wanted):
            result.reason = "it counts when the node is configured next: clean it up and configure it"
        return result

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        self._values = {name: self.get_parameter(name).value for name, spec in self._specs.items() if not spec.live}
        result = self._transition("configure", self.configure, self._configured)
        if result == TransitionCallbackReturn.FAILURE:
            self._release()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        result = self._transition("activate", self.activate, self._activated)
        self.active = result == TransitionCallbackReturn.SUCCESS
        if not self.active:
            self._destroy(self._activated)
            return result
        if self.freezes:
            # What is there now stays: without this, a look through all of it for garbage holds up a step by 10 ms now and then.
            gc.collect()
            gc.freeze()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        if not self._halt():
            return TransitionCallbackReturn.ERROR
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        return TransitionCallbackReturn.SUCCESS if self._release() else TransitionCallbackReturn.ERROR

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle callback: whatever went wrong, the robot is stopped, and the node can be configured anew."""
        self.close()
        self.get_logger().error("the error above has left this node unconfigured: once its cause is gone, configure it")
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Stop the robot if it may be driving, and let go of everything that configure took."""
        if self.active:
            self._halt()
        self._release()

    def _halt(self) -> bool:
        self.active = False
        self._destroy(self._activated)
        return self._transition("deactivate", self.deactivate, {}) == TransitionCallbackReturn.SUCCESS

    def _release(self) -> bool:
        result = self._transition("clean up", self.cleanup, {})
        self._destroy(self._activated)
        self._destroy(self._configured)
        self._values = {}
        # rclpy remembers what it served even when that is gone.
        group = self.default_callback_group
        group.entities = {reference for reference in group.entities if reference() is not None}
        if self.freezes:
            gc.unfreeze()
            gc.collect()
        return result == TransitionCallbackReturn.SUCCESS

    def _transition(self, what: str, action: Callable[[], None], made: Held) -> TransitionCallbackReturn:
        """Do what a transition asks for. made: gets what was created meanwhile."""
        before = self._held()
        try:
            action()
        except MmNavError as error:
            self.get_logger().error(f"{what} failed: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception:
            self.get_logger().error(f"{what} failed unexpectedly:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        finally:
            made |= {key: held for key, held in self._held().items() if key not in before}
        return TransitionCallbackReturn.SUCCESS

    def _held(self) -> Held:
        return {id(item): (destroy, item) for kind, destroy in _HOLDINGS for item in getattr(self, kind)}

    def _destroy(self, held: Held) -> None:
        for destroy, item in sorted(held.values(), key=lambda pair: [name for _, name in _HOLDINGS].index(pair[0])):
            getattr(self, destroy)(item)
        held.clear()

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
    try:
        rclpy.init(args=list(argv) if argv is not None else None, signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # RCLError is one
        sys.stderr.write(f"error: the ROS arguments cannot be used: {error}\n")
        return 2
    asked = _Interruption()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell had SIGINT ignored, as it does with `… &`
        signal.signal(number, asked)
    node: StackNode | None = None
    executor = Executor()
    try:
        node = node_class()
        node.freezes = True
        executor.add_node(node)
        node.start()
        asked.raises = False
        # spin_once in a loop: a multi-threaded executor loses messages at high rates.
        while rclpy.ok() and not asked.since:
            executor.spin_once(timeout_sec=0.5)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except MmNavError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    finally:
        if node is not None:
            node.close()
            # Who waits for a goal's result gets it.
            until = time.monotonic() + _LAST_WORDS_S
            while rclpy.ok() and time.monotonic() < until:
                executor.spin_once(timeout_sec=0.05)
            node.destroy_node()
        if rclpy.ok():
            rclpy.shutdown()
    return 0


class _Interruption:
    """A handler of signals. since: how many have come. raises: whether the first one breaks off what runs, as loading a network
    does; the second always does."""

    def __init__(self) -> None:
        self.since, self.raises = 0, True

    def __call__(self, number: int, frame: object) -> None:
        self.since += 1
        # Raised in a callback, it would be printed as the callback's fault, or be lost.
        if self.raises or self.since > 1:
            raise KeyboardInterrupt
