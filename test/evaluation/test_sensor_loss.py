"""Sensors that stop delivering half-way."""

from __future__ import annotations

import numpy as np
import pytest

from mm_nav.evaluation.conditions import policy_factory
from mm_nav.evaluation.episodes import EpisodeConfig, run_episode
from mm_nav.evaluation.sensor_loss import SensorLoss
from mm_nav.evaluation.suites import suite_episodes
from mm_nav.geometry import Pose2D
from mm_nav.observation import CameraImage, LaserScan, Observation, Odometry, PointCloud
from mm_nav.sim.episode import SUCCESS_RADIUS_M


def seen(seconds):
    stamp = round(1e9 * seconds)
    return Observation(
        stamp,
        Odometry(stamp, Pose2D()),
        LaserScan(stamp, np.ones(4, np.float32), 0.0, 1.0, 0.1, 10.0),
        CameraImage(stamp, np.zeros((2, 2, 3), np.uint8), np.eye(3), np.eye(4)),
        PointCloud(stamp, np.zeros((1, 3), np.float32)),
    )


def test_a_camera_is_lost_once_half_the_way_is_left_and_stays_lost():
    loss = SensorLoss("camera", 4.0, 120.0)
    before = seen(0.1)
    assert loss.filter(before, 2.1) is before and loss.lost_at_ns is None
    after = loss.filter(seen(0.2), 2.0)
    assert after.image is None and after.scan is not None and after.cloud is not None
    assert loss.filter(seen(0.3), 9.0).image is None and loss.lost_at_ns == 200_000_000


def test_a_lidar_is_lost_at_the_latest_when_half_the_time_is_over():
    loss = SensorLoss("lidar", 4.0, 60.0)
    assert loss.filter(seen(29.9), 5.0).scan is not None
    after = loss.filter(seen(30.0), 5.0)
    assert after.scan is None and after.cloud is None and after.image is not None


def test_without_a_loss_all_delivers_to_the_end():
    loss = SensorLoss("", 4.0, 60.0)
    assert loss.filter(seen(1e3), 0.0).scan is not None and loss.lost_at_ns is None


@pytest.mark.parametrize("lost", ["", "camera", "lidar"])
def test_an_episode_is_the_same_until_the_sensor_is_lost(lost):
    (episode,), task = suite_episodes("seen", 5029)
    whole, steps = [], []
    run_episode(episode, task, policy_factory("oracle"), EpisodeConfig(time_limit_s=12.0), whole.append)
    config = EpisodeConfig(time_limit_s=12.0, lost=lost)
    result = run_episode(episode, task, policy_factory("oracle"), config, steps.append)
    missing = [s.observation.image is None if lost == "camera" else s.observation.scan is None for s in steps]
    if not lost:
        assert result.sensor_lost_at_s is None and not any(missing)
        return
    first = missing.index(True)
    assert first > 0 and all(missing[first:]) and result.sensor_lost_at_s == pytest.approx(0.1 * first)
    half = 0.5 * result.shortest_path_m
    left = [task.shortest_path(s.pose, episode.steps, (SUCCESS_RADIUS_M,)) for s in steps[: first + 1]]
    assert left[first] <= half < left[first - 1] <= result.shortest_path_m
    assert [s.pose for s in steps[: first + 1]] == [s.pose for s in whole[: first + 1]]
    if lost == "lidar":  # as configured by default, navigator and guard stop at once
        assert all(s.driven.linear == 0.0 for s in steps[first:])
