"""Sensors and goal in, policy output out: the node that holds the network."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import TwistStamped
from mm_nav_interfaces.msg import PolicyGoal as PolicyGoalMessage
from mm_nav_interfaces.msg import PolicyOutput
from mm_nav_interfaces.srv import LoadModel
from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from mm_nav.errors import MmNavError, SensorError
from mm_nav.goal import PolicyGoal
from mm_nav.observation import CameraImage, LaserScan, Observation
from mm_nav.robot import load_robot
from mm_nav.ros import conversions, inputs, qos
from mm_nav.ros.health import HEARTBEAT_S, SILENCE, Health, Status
from mm_nav.ros.obstacles import POINTS, ScanInput
from mm_nav.ros.parameters import ROBOT, ParameterSpec
from mm_nav.ros.raw_image import parse_image
from mm_nav.ros.stack_node import StackNode, run_node
from mm_nav.ros.tf_buffer import StaticTransforms
from mm_nav.ros.topics import frames, topics
from mm_nav.runtime.edge import InferenceSettings
from mm_nav.runtime.governed import GovernedPolicy
from mm_nav.runtime.governor import GovernorConfig
from mm_nav.runtime.policy import OnnxPolicy, default_model
from mm_nav.runtime.shadow import Shadow
from mm_nav.runtime.stages import Arrivals, StageTimes
from mm_nav.runtime.swap import SwappablePolicy, Trial
from mm_nav.safety.inputs import Level, Problem
from mm_nav.sensing.messages import image_from, stamp_ns
from mm_nav.sensing.newest import NewestWorker
from mm_nav.sensing.rectify import distortion_from
from mm_nav.sensing.synchronizer import ObservationSynchronizer, SyncConfig

_TRIAL_NICE = 10

# Intrinsics (3, 3), base_T_camera (4, 4), distortion: coefficients and model.
Camera = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], tuple[tuple[float, ...], str]]


def _decode(item: tuple[CompressedImage, Camera]) -> CameraImage:
    message, (intrinsics, mount, distortion) = item
    return image_from(message, intrinsics, mount, compressed=True, distortion=distortion)


class InferenceNode(StackNode):
    """Runs the policy on every observation while there is something to look for."""

    PARAMETERS = (
        ROBOT,
        POINTS,
        SILENCE,
        ParameterSpec(
            "device",
            "",
            "a profile of config/edge, or a file like one: it says what model, provider, precision, deadline_ms, light_model are "
            "where they are left at their defaults; empty = none",
        ),
        ParameterSpec("model", "", "ONNX model with its manifest beside it; empty = the one that comes with mm_nav"),
        ParameterSpec("provider", "auto", "ONNX Runtime provider", choices=("auto", "tensorrt", "cuda", "cpu")),
        ParameterSpec(
            "precision",
            "auto",
            "of a TensorRT engine; auto = fp16 there, fp32 elsewhere",
            choices=("auto", "fp32", "fp16", "int8"),
        ),
        ParameterSpec("threads", 1, "threads of the network", 1, 64),
        ParameterSpec("rivals", True, "whether things that look like the named one are asked about too"),
        ParameterSpec(
            "deadline_ms",
            0.0,
            "from a scan's arrival to its command; when it is threatened, rivals are left out, then light_model is used, until "
            "there is room again; 0 = never",
            0.0,
            1000.0,
        ),
        ParameterSpec("light_model", "", "a cheaper ONNX model for that; empty = none"),
        ParameterSpec(
            "shadow_model", "", "an ONNX model that is asked the same at low priority, to be compared; empty = none"
        ),
        ParameterSpec("shadow_log", "shadow.jsonl", "file that the comparison is appended to"),
        ParameterSpec(
            "compressed", False, "read image/compressed (sensor_msgs/CompressedImage, JPEG or PNG) instead of image"
        ),
        ParameterSpec("image_timeout", 0.5, "a camera silent for longer is lost, s", 0.05, 10.0),
        ParameterSpec(
            "image_wait", 0.05, "how long a scan waits for a picture that is due, s of message time", 0.0, 1.0
        ),
    )

    def __init__(self) -> None:
        super().__init__("inference")
        self._policy: SwappablePolicy | None = None
        self._shadow: Shadow | None = None
        self._decoder: NewestWorker[tuple[CompressedImage, Camera], CameraImage] | None = None
        # It outlives clean-ups, as a trial may; in a group of its own: while it waits for one, everything else must go on.
        self._trials = MutuallyExclusiveCallbackGroup()
        self.create_service(LoadModel, "~/load_model", self._load_model, callback_group=self._trials)

    def configure(self) -> None:
        """Load the network and subscribe."""
        names = ("model", "provider", "precision", "deadline_ms", "light_model")
        self._settings = InferenceSettings(**{name: self.value(name) for name in names}).on(str(self.value("device")))
        model, load = self._settings.model, self._load
        self._policy = SwappablePolicy(
            load(Path(model) if model else default_model()), load, say=self.get_logger().error
        )
        if shadow := str(self.value("shadow_model")):
            self._shadow = Shadow(self._open(Path(shadow)), Path(str(self.value("shadow_log"))))
        self._arrivals, self._stages = Arrivals(), StageTimes()
        # The first call of a session is slow; let it not be the first step of a drive.
        self._policy.prepare(PolicyGoal("warm-up", "the red barrel"))
        self.get_logger().info(f"policy {self._policy.policy.path.name} loaded")
        self._sync = ObservationSynchronizer(
            SyncConfig(
                triggers=("scan", "image"),
                image_timeout_s=float(self.value("image_timeout")),
                max_wait_s=float(self.value("image_wait")),
            )
        )
        self._goal: PolicyGoal | None = None
        self._latest: Observation | None = None
        self._intrinsics: npt.NDArray[np.float64] | None = None
        self._distortion: tuple[tuple[float, ...], str] = ((), "plumb_bob")
        t = topics()
        self._mounts = StaticTransforms(self)
        self._publisher = self.create_publisher(PolicyOutput, t.policy, qos.STATUS)
        robot = load_robot(str(self.value("robot")))
        self._health = Health(self, robot.name)
        self.create_subscription(TwistStamped, t.cmd_vel_nav, self._command, qos.COMMAND)
        self.create_subscription(Odometry, t.odom, self._odometry, qos.ODOMETRY_HEARD)
        self.create_subscription(CameraInfo, t.camera_info, self._camera_info, qos.SENSOR)
        self._image_topic = t.image
        self._subscribe_images(t.image)
        ScanInput(self, self._mounts, self._health, robot, self._scan)
        self.create_subscription(PolicyGoalMessage, t.policy_goal, self._receive_goal, qos.LATCHED)

    def _subscribe_images(self, topic: str) -> None:
        if self.value("compressed"):
            # Pictures are decoded beside the control thread.
            self._decoder = NewestWorker(_decode, self._announce_decoded, "decoder")
            self._image_topic = f"{topic}/compressed"
            self.create_subscription(CompressedImage, self._image_topic, self._compressed, qos.IMAGE)
        else:
            self.create_subscription(Image, topic, self._image, qos.IMAGE, raw=True)

    def _load(self, path: Path) -> OnnxPolicy | GovernedPolicy:
        """Open a model, and govern it where there is a deadline."""
        main, light, deadline = self._open(path), self._settings.light_model, self._settings.deadline_ms
        if deadline <= 0.0:
            return main
        lighter = self._open(Path(light)) if light else None
        return GovernedPolicy(main, lighter, GovernorConfig(deadline_ms=deadline), self.get_logger().warning)

    def _open(self, path: Path) -> OnnxPolicy:
        return OnnxPolicy(
            path,
            self._settings.provider,
            int(self.value("threads")),
            rivals=bool(self.value("rivals")),
            precision=self._settings.precision,
            say=self.get_logger().info,
        )

    def activate(self) -> None:
        """Start reporting."""
        limit = float(self.value("silence"))
        self._failure = ""
        watched = (
            inputs.odometry(self, limit), inputs.scan(self, limit, Level.WARN),
            inputs.camera(self, self._image_topic, float(self.value("image_timeout"))),
        )  # fmt: skip
        self._health.start(watched, self._report, self._problems, HEARTBEAT_S)

    def deactivate(self) -> None:
        """Stop reporting."""
        self._health.stop()

    def cleanup(self) -> None:
        """Drop the network, and end the threads."""
        if self._decoder is not None:
            self._decoder.close()
        if self._shadow is not None:
            self._shadow.close()
        self._policy = self._shadow = self._decoder = self._goal = self._latest = None
        gc.collect()  # a network is too large to wait until somebody looks for garbage

    def _odometry(self, message: Odometry) -> None:
        try:
            odometry = inputs.finite_odometry(message)
        except SensorError as error:
            self._health.refused("odom", str(error))
            return
        self._health.heard("odom")
        self._consider(self._sync.push_odometry(odometry))

    def _camera_info(self, message: CameraInfo) -> None:
        try:
            self._distortion = distortion_from(message)
        except SensorError as error:
            self._health.refused("image", str(error))
            return
        self._intrinsics = np.asarray(message.k, np.float64).reshape(3, 3)

    def _image(self, buffer: bytes) -> None:
        try:
            message = parse_image(buffer)
            camera = self._camera(message.header.frame_id)
            if camera is not None:
                self._see(image_from(message, camera[0], camera[1], distortion=camera[2]))
        except SensorError as error:
            self._health.refused("image", str(error))

    def _compressed(self, message: CompressedImage) -> None:
        camera = self._camera(message.header.frame_id)
        if camera is not None and self._decoder is not None:
            self._decoder.offer((message, camera))

    def _announce_decoded(self) -> None:
        """Called in the decoder's thread. (A guard condition would do, if the events executor knew them.)"""
        if self.executor is not None:
            self.executor.create_task(self._take_decoded)

    def _take_decoded(self) -> None:
        for image in self._decoder.take() if self._decoder is not None else ():
            if isinstance(image, MmNavError):
                self._health.refused("image", str(image))
            else:
                self._see(image)

    def _see(self, image: CameraImage) -> None:
        self._health.heard("image")
        self._consider(self._sync.push_image(image))

    def _camera(self, frame: str) -> Camera | None:
        """Return what a picture needs beside its pixels, or None with a warning while that is not known."""
        if self._intrinsics is None:
            topic = self.resolve_topic_name(topics().camera_info)
            self._health.refused("image", f"no camera_info has come on {topic}: let the camera's driver publish it")
            return None
        mount = self._mounts.lookup(frames().base, frame)
        if mount is None:
            self._health.refused("image", inputs.no_transform(frame))
            return None
        return self._intrinsics, mount, self._distortion

    def _scan(self, scan: LaserScan) -> None:
        self._arrivals.note(scan.stamp_ns, self.steady_s())
        self._consider(self._sync.push_scan(scan))

    def _command(self, message: TwistStamped) -> None:
        """A command has come of a scan: how long that took is what the budget is about."""
        if self._policy is None:
            return
        now, model = self.steady_s(), self._policy.policy
        took = self._arrivals.since_ms(stamp_ns(message.header), now, last=True)
        if took is not None and self._goal is not None and isinstance(model, GovernedPolicy):
            model.note(took, now)

    async def _load_model(self, request: LoadModel.Request, response: LoadModel.Response) -> LoadModel.Response:
        """Try another model beside the present one, and let it take over."""
        path, done, policy = Path(request.model) if request.model else default_model(), Future(), self._policy
        if policy is None:
            response.message = "the inference node is not configured: configure it, then give it another model"
            return response

        def attempt() -> None:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _TRIAL_NICE)
            try:
                done.set_result(policy.try_model(path))
            except Exception as error:  # whoever asked must get an answer
                done.set_result(error)

        threading.Thread(target=attempt, name="trial", daemon=True).start()
        found = await done
        if policy is not self._policy:
            response.message = f"the inference node was cleaned up while {path.name} was tried: ask again"
            return response
        response.success = isinstance(found, Trial)
        if isinstance(found, Trial):
            policy.take_over(found)
            if self._goal is not None:
                policy.prepare(self._goal)
            response.message = (
                f"{path.name} has taken over; on the last {found.inputs} inputs 'in view' differed by "
                f"{found.difference:.3f}, and it took {found.slower:.2f} times as long"
            )
            self.get_logger().info(response.message)
        else:
            response.message = str(found)
            self.get_logger().error(response.message)
        return response

    def _report(self) -> Status:
        assert self._policy is not None
        model, values = self._policy.policy, dict(self._stages.report())
        if not isinstance(model, GovernedPolicy):
            return model.path.stem, values
        governor = model.governor
        values |= {"deadline_ms": governor.config.deadline_ms, "scan_to_command_p99_ms": governor.p99_ms}
        return governor.level.name, values

    def _problems(self) -> tuple[Problem, ...]:
        if self._failure:
            return (Problem("policy", Level.ERROR, f"the network fails: {self._failure}"),)
        model = self._policy.policy if self._policy is not None else None
        if isinstance(model, GovernedPolicy) and model.governor.index > 0:
            return (Problem("deadline", Level.WARN, model.governor.level.name),)
        return ()

    def _complain(self, text: str) -> None:
        self.get_logger().warning(text, throttle_duration_sec=5.0)

    def _receive_goal(self, message: PolicyGoalMessage) -> None:
        try:
            self._goal = conversions.policy_goal_from(message)
        except SensorError as error:
            self._goal = None
            self._complain(f"the goal's picture cannot be used: {error}")
        # A new goal is answered for the newest observation at once: the navigator may be waiting for just that.
        if self._goal is not None and self._latest is not None:
            self._infer(self._latest)

    def _consider(self, observations: list[Observation]) -> None:
        # The newest wins: an older one could only steer late. But every scan is answered when the node keeps up.
        for observation in observations:
            self._latest = observation
            self._infer(observation)

    def _infer(self, observation: Observation) -> None:
        if not self.active or self._goal is None or self._policy is None:
            return
        waited = self._arrivals.since_ms(observation.stamp_ns, self.steady_s())
        if waited is not None:
            self._stages.note(wait=waited)
        try:
            output = self._policy(observation, self._goal)
        except MmNavError as error:
            self._failure = str(error)
            self._complain(self._failure)
            return
        self._failure = ""
        self._stages.note(preprocess=output.preprocess_ms, network=output.inference_ms - output.preprocess_ms)
        self._publisher.publish(conversions.policy_message(output, frames().base))
        if self._shadow is not None:
            self._shadow.offer(observation, self._goal, output)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run_node(InferenceNode, argv)


if __name__ == "__main__":
    sys.exit(main())
