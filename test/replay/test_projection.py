"""Where points around the robot are in its picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_nav.observation import CameraImage
from mm_nav.replay.projection import as_pinhole, project, project_ground
from mm_nav.runtime.preprocess import pixel_rays
from mm_nav.sensing.rectify import rectified

HEIGHT_M = 0.5
PLUMB_BOB = (-0.28, 0.07, 0.001, -0.002, 0.0)
FISHEYE = (-0.05, 0.01, -0.002, 0.0004)


def camera(distortion=(), model="plumb_bob", width=320, height=240, focal=160.0):
    """Half a metre above base_link, looking along x."""
    pose = np.array([[0, 0, 1, 0.1], [-1, 0, 0, 0], [0, -1, 0, HEIGHT_M], [0, 0, 0, 1]], np.float64)
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return CameraImage(0, np.zeros((height, width, 3), np.uint8), matrix, pose, distortion, model)


def test_straight_ahead_is_the_middle():
    assert project([[3.1, 0.0, HEIGHT_M]], camera()) == pytest.approx(np.array([[159.5, 119.5]]))


def test_left_is_left_and_the_floor_is_below():
    left, floor = project([[2.1, 0.5, HEIGHT_M], [2.1, 0.0, 0.0]], camera())
    assert left == pytest.approx([159.5 - 160 * 0.25, 119.5])
    assert floor == pytest.approx([159.5, 119.5 + 160 * 0.25])


@pytest.mark.parametrize(
    "lens",
    [
        ((), "plumb_bob"),
        (PLUMB_BOB, "plumb_bob"),
        (FISHEYE, "equidistant"),
        ((*PLUMB_BOB, 0.1, 0.01, 0.0), "rational_polynomial"),
    ],
)
def test_behind_and_outside_are_nan(lens):
    points = [[-2.0, 0.1, 0.5], [0.1, 0.0, 0.0], [0.11, 3.0, 0.0], [1.0, 30.0, 0.5], [np.nan, 0, 0], [np.inf, 0, 0]]
    assert np.isnan(project(points, camera(*lens))).all()
    assert np.isfinite(project([[2.0, 0.1, 0.2]], camera(*lens))).all()


@given(st.floats(0, 319), st.floats(0, 239), st.floats(0.5, 20))
def test_undoes_the_rays_of_the_preprocessor(column, row, distance):
    image = camera()
    ray = pixel_rays(np.array([column]), np.array([row]), image.intrinsics, image.base_T_camera)
    point = image.base_T_camera[:3, 3] + distance * ray
    assert project(point, image) == pytest.approx(np.array([[column, row]]), abs=1e-6)


@pytest.mark.parametrize("lens", [(PLUMB_BOB, "plumb_bob"), (FISHEYE, "equidistant")])
def test_distorted_camera(lens):
    """A dot painted where a point is projected to is, in the rectified picture, where a pinhole camera has it."""
    image, point = camera(*lens), [[1.6, 0.9, 0.1]]
    bent, straight = project(point, image)[0], project(point, camera())[0]
    assert np.linalg.norm(bent - straight) > 3
    cv2.circle(image.rgb, tuple(int(v) for v in np.round(bent)), 3, (255, 255, 255), -1)
    rows, columns = np.nonzero(rectified(image)[..., 0] > 100)
    assert np.array([columns.mean(), rows.mean()]) == pytest.approx(straight, abs=1.0)
    assert project(point, as_pinhole(image))[0] == pytest.approx(straight)


def test_a_lens_does_not_fold_the_outside_into_the_picture():
    """x (1 - 0.28 x² + 0.07 x⁴) without its second term comes back to 0 at x = 1.9."""
    image = camera((-0.28, 0.0, 0.0, 0.0), width=640, focal=160.0)
    folded = cv2.projectPoints(
        np.array([[[1.85, 0.0, 1.0]]]), np.zeros(3), np.zeros(3), image.intrinsics, np.array(image.distortion)
    )[0]
    assert 0 < folded[0, 0, 0] < 640
    assert np.isnan(project([[1.1, -1.85, HEIGHT_M]], image)).all()


def test_reduced_picture():
    full = project([[2.1, 0.5, 0.3]], camera())[0]
    small = project([[2.1, 0.5, 0.3]], camera(), (80, 60))[0]
    assert small + 0.5 == pytest.approx((full + 0.5) / 4)


def test_ground_keeps_the_shape():
    ways = np.full((2, 3, 2), [2.0, 0.1])
    pixels = project_ground(ways, camera())
    assert pixels.shape == (2, 3, 2)
    assert pixels[1, 2] == pytest.approx(project([[2.0, 0.1, 0.0]], camera())[0])
    assert project_ground(np.empty((0, 5, 2)), camera()).shape == (0, 5, 2)
