"""Lenses that distort, shutters that take time, exposure that varies: the camera against OpenCV and against itself."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest

from mm_nav.errors import ConfigError, SensorError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import CameraImage
from mm_nav.sensing.rectify import distortion_from, rectified
from mm_nav.sim.camera import CameraConfig, camera_rays, render
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import parse_world

LENSES = {
    "barrel": ((-0.28, 0.07, 0.0008, -0.0006), "plumb_bob"),
    "pincushion": ((0.12, -0.03, 0.0, 0.0, 0.002), "plumb_bob"),
    "rational": ((0.1, -0.05, 0.0005, 0.0002, 0.01, 0.35, -0.05, 0.005), "rational_polynomial"),
    "fisheye": ((0.03, -0.01, 0.004, -0.001), "equidistant"),
}
TARGETS = np.array([(3.0, 0.0, 0.5), (2.5, 1.3, 0.9), (2.5, -1.4, 0.1), (3.5, 0.6, 1.3)])


def spheres() -> Scene:
    models = "".join(
        f"<model name='ball_{i}'><static>1</static><pose>{x} {y} {z} 0 0 0</pose><link name='l'><visual name='v'><geometry>"
        "<sphere><radius>0.05</radius></sphere></geometry></visual></link></model>"
        for i, (x, y, z) in enumerate(TARGETS)
    )
    return Scene(parse_world(f"<sdf version='1.8'><world name='w'>{models}</world></sdf>"))


def board() -> Scene:
    """Black bars before a white wall, 2 m ahead."""
    bars = "".join(
        f"<visual name='b{i}'><pose>-0.06 {y} 0 0 0 0</pose><geometry><box><size>0.01 0.2 4</size></box></geometry>"
        "<material><diffuse>0 0 0 1</diffuse></material></visual>"
        for i, y in enumerate(np.arange(-2.0, 2.01, 0.4))
    )
    wall = (
        "<visual name='w'><geometry><box><size>0.1 6 4</size></box></geometry><material><diffuse>1 1 1 1</diffuse>"
        "</material></visual>"
    )
    body = f"<model name='m'><static>1</static><pose>2.05 0 0 0 0 0</pose><link name='l'>{wall}{bars}</link></model>"
    return Scene(parse_world(f"<sdf version='1.8'><world name='w'>{body}</world></sdf>"))


@pytest.mark.parametrize("lens", LENSES)
def test_distorted_pictures_project_like_opencv(lens: str) -> None:
    coefficients, model = LENSES[lens]
    camera = CameraConfig(640, 480, position=(0.0, 0.0, 0.5), yaw=0.1, distortion=coefficients, distortion_model=model)
    seen = render(spheres(), camera, camera.base_T_camera())
    camera_T_world = np.linalg.inv(camera.base_T_camera())
    rotation, _ = cv2.Rodrigues(camera_T_world[:3, :3])
    for index, target in enumerate(TARGETS):
        rows, columns = np.nonzero(seen.model_index == index)
        assert len(rows) > 30
        project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
        args = (rotation, camera_T_world[:3, 3], camera.intrinsics(), np.array(coefficients))
        expected, _ = project(target.reshape(1, 1, 3), *args)
        assert np.abs(np.array([columns.mean(), rows.mean()]) - expected.ravel()).max() < 0.5


@pytest.mark.parametrize("lens", LENSES)
def test_every_ray_projects_back_to_its_pixel(lens: str) -> None:
    coefficients, model = LENSES[lens]
    camera = CameraConfig(160, 120, distortion=coefficients, distortion_model=model)
    rays, seen = camera_rays(camera)
    zero = np.zeros(3)
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    back, _ = project(rays.astype(np.float64)[:, None], zero, zero, camera.intrinsics(), np.array(coefficients))
    columns, rows = np.meshgrid(np.arange(160), np.arange(120))
    error = np.abs(back.reshape(-1, 2) - np.stack([columns.ravel(), rows.ravel()], axis=-1)).max(axis=1)
    inside = np.ones(len(rays), bool) if seen is None else seen
    assert inside.mean() > 0.9
    assert error[inside].max() < 0.05


def test_what_a_lens_cannot_see_is_black_and_empty() -> None:
    # So strong a barrel that the corners of the picture lie outside the image circle.
    camera = CameraConfig(160, 120, horizontal_fov=2.0, distortion=(-0.35, 0.0, 0.0, 0.0))
    seen = render(board(), camera, camera.base_T_camera())
    assert np.all(seen.rgb[0, 0] == 0) and np.isinf(seen.depth[0, 0]) and seen.model_index[0, 0] == -1
    assert seen.rgb[60, 80].max() > 0 or np.isfinite(seen.depth[60, 80])


@pytest.mark.parametrize("lens", LENSES)
def test_rectified_pictures_equal_those_of_a_pinhole(lens: str) -> None:
    coefficients, model = LENSES[lens]
    bent = CameraConfig(320, 240, horizontal_fov=1.2, distortion=coefficients, distortion_model=model)
    scene, mount = board(), bent.base_T_camera()
    picture = render(scene, bent, mount).rgb
    straight = rectified(CameraImage(0, picture, bent.intrinsics(), mount, coefficients, model))
    half_angle = math.atan(160 / bent.intrinsics()[0, 0])
    pinhole = render(scene, CameraConfig(320, 240, horizontal_fov=2 * half_angle), mount).rgb
    middle = (slice(30, 210), slice(40, 280))
    difference = np.abs(straight[middle].astype(int) - pinhole[middle])
    wrong = np.mean(difference > 60)  # only along the edges of the bars
    assert wrong < 0.03 and np.mean(np.abs(picture[middle].astype(int) - pinhole[middle]) > 60) > 1.5 * wrong


def test_camera_info_says_how_to_rectify() -> None:
    class Info:
        d = (-0.2, 0.1, 0.0, 0.0, 0.0)
        distortion_model = "plumb_bob"

    assert distortion_from(Info()) == ((-0.2, 0.1, 0.0, 0.0, 0.0), "plumb_bob")
    Info.d = (0.0,) * 5
    assert distortion_from(Info())[0] == ()
    Info.d, Info.distortion_model = (0.1, 0.1, 0.1), "equidistant"
    with pytest.raises(SensorError, match="3 coefficients"):
        distortion_from(Info())
    Info.distortion_model = "kannala"
    with pytest.raises(SensorError, match="not known"):
        distortion_from(Info())


def driving(camera: CameraConfig, twist: Twist2D) -> Simulator:
    sim = Simulator(board(), SimConfig(camera=camera, lidar=None), seed=5)
    sim.step(twist, 1.0)
    return sim


def test_a_slow_shutter_blurs_when_the_robot_turns_and_only_then() -> None:
    sharp = CameraConfig(160, 120, horizontal_fov=1.2)
    slow = replace(sharp, exposure_s=0.1, blur_samples=8)

    def steepest(camera: CameraConfig, twist: Twist2D) -> int:
        rgb = driving(camera, twist).image().rgb[60, :, 0].astype(int)
        return int(np.abs(np.diff(rgb)).max())

    still = Twist2D()
    assert steepest(slow, still) == steepest(sharp, still) > 100
    assert steepest(slow, Twist2D(0.0, 0.8)) < 0.6 * steepest(sharp, Twist2D(0.0, 0.8))


def test_exposure_and_colour_are_drawn_once_for_a_run() -> None:
    camera = CameraConfig(32, 24, exposure_jitter=0.4, colour_jitter=0.1)
    sim = Simulator(board(), SimConfig(camera=camera, lidar=None), seed=1)
    brightness = []
    for seed in range(150):
        sim.reset(Pose2D(), seed)
        first, second = sim.image().rgb, sim.image().rgb
        assert np.array_equal(first, second)
        brightness.append(float(np.mean(first[..., 1])))
    plain = Simulator(board(), SimConfig(camera=CameraConfig(32, 24), lidar=None)).image().rgb
    stops = np.log2(np.array(brightness) / float(np.mean(plain[..., 1])))
    darker = stops[stops < 0]  # what is brighter may be blown out
    assert len(darker) > 50 and np.sqrt(np.mean(darker**2)) == pytest.approx(
        math.hypot(0.4, 0.1 / math.log(2)), rel=0.2
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"distortion": (0.1,)},
        {"distortion": (0.1,) * 4, "distortion_model": "kannala"},
        {"exposure_s": 2.0},
        {"blur_samples": 0},
        {"exposure_jitter": -0.1},
        {"rate_hz": 0.0},
    ],
)
def test_impossible_lenses_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        CameraConfig(**wrong)  # type: ignore[arg-type]
