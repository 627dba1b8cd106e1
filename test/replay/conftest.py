"""Steps of a replay, for what writes them down."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest

from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.goal import Goal
from mm_nav.navigator import Navigator
from mm_nav.replay.records import AHEAD_S, ReplayStep
from mm_nav.resources import resource_path
from mm_nav.robot import RobotConfig
from mm_nav.runtime.policy import OnnxPolicy
from mm_nav.safety.guard import Guard
from mm_nav.sim.simulator import CameraConfig, SimConfig, Simulator
from mm_nav.sim.world import load_world

START_NS = 1_700_000_000_000_000_000
RECORDED = Twist2D(0.3, -0.05)


class _Overheard(OnnxPolicy):
    """The policy, and what it said last."""

    said = None

    def __call__(self, observation, goal):
        self.said = super().__call__(observation, goal)
        return self.said


def _moved(observation):
    """As of a robot whose clock is the world's."""

    def later(item):
        return None if item is None else replace(item, stamp_ns=item.stamp_ns + START_NS)

    parts = {name: later(getattr(observation, name)) for name in ("odometry", "scan", "image", "cloud")}
    return replace(observation, stamp_ns=observation.stamp_ns + START_NS, **parts)


@pytest.fixture(scope="package")
def replay_steps() -> list[ReplayStep]:
    """3 s of a drive towards a red barrel in the apartment, 10 steps a second, with the committed policy.

    The first 0.5 s are without a camera.
    """
    robot, policy = RobotConfig(), _Overheard(provider="cpu")
    world = load_world(resource_path("worlds/apartment.sdf"))
    simulator = Simulator(world, SimConfig(camera=CameraConfig(320, 240)), start=Pose2D(0.23, -2.11, 4.14), seed=3)
    navigator, guard, witness = Navigator(robot, policy=policy), Guard(robot), Guard(robot)
    navigator.set_goal(Goal("go to the red barrel"))
    steps, first = [], None
    for k in range(30):
        observation = _moved(simulator.observe())
        if k < 5:
            observation = replace(observation, image=None)
        first = observation.stamp_ns if first is None else first
        begun = time.perf_counter()
        policy.said = None
        command = navigator.step(observation)
        odometry, scan, stamp = observation.odometry, observation.scan, observation.stamp_ns
        guarded = guard.filter(command.twist, odometry, scan, stamp)
        pose, ahead = odometry.pose, np.array(AHEAD_S)
        foreseen = np.stack([pose.x + 0.3 * ahead, pose.y + 0 * ahead, pose.yaw + 0 * ahead], axis=1)
        live = {
            "time_s": 1e-9 * (stamp - first), "recorded_linear": RECORDED.linear, "recorded_angular": RECORDED.angular,
            "wanted_linear": command.twist.linear, "linear": guarded.twist.linear, "clearance_m": 1.0,
            "strange_image": math.nan, "strange_scan": 0.5, "confidence": navigator.progress.confidence,
            "visible": math.nan if policy.said is None else policy.said.visible, "latency_ms": 5.0,
        }  # fmt: skip
        steps.append(
            ReplayStep(
                observation, command, guarded, witness.filter(RECORDED, odometry, scan, stamp), navigator.progress,
                policy.said, foreseen, 1e3 * (time.perf_counter() - begun), live, navigator.grid,
            )
        )  # fmt: skip
        simulator.step(RECORDED, 0.1)
    return steps
