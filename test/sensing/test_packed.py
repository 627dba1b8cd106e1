"""Pictures that are decoded when somebody looks at them."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from mm_nav.errors import SensorError
from mm_nav.sensing.images import decode_compressed
from mm_nav.sensing.packed import PackedImage, jpeg_shape

RNG = np.random.default_rng(0)


def jpeg(height=48, width=64, *options):
    picture = cv2.resize(RNG.integers(0, 256, (6, 8, 3), np.uint8), (width, height))
    return cv2.imencode(".jpg", picture, list(options))[1].tobytes()


def packed(data, shape=(48, 64)):
    return PackedImage.pack(7, data, shape, np.eye(3), np.eye(4), (0.1,), "equidistant")


@pytest.mark.parametrize("size", [(1, 1), (48, 64), (480, 641), (3, 4000)])
@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)])
def test_size_of_a_jpeg_is_told_without_decoding(size, options):
    assert jpeg_shape(jpeg(*size, *options)) == size


def test_what_is_no_whole_jpeg_has_no_size():
    data = jpeg()
    png = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    for broken in (
        b"",
        b"\xff\xd8",
        data[:-2],
        data[2:],
        b"\xff\xd8" + bytes(40) + b"\xff\xd9",
        png,
        b"\xff\xd8\xff\xd9",
    ):
        assert jpeg_shape(broken) is None
    for k in range(len(data)):
        jpeg_shape(data[:k] + b"\xff\xd9")  # cut anywhere, with an end put on: an answer, no error


def test_it_is_the_same_picture_decoded_once():
    data = jpeg()
    image = packed(data)
    assert image.shape == (48, 64) and "rgb" not in vars(image)
    np.testing.assert_array_equal(image.rgb, decode_compressed(data))
    assert image.rgb is image.rgb and image.shape == (48, 64)
    assert (image.stamp_ns, image.distortion, image.distortion_model) == (7, (0.1,), "equidistant")
    later = dataclasses.replace(image, stamp_ns=9)
    assert later.stamp_ns == 9 and later.rgb is image.rgb and later.shape == (48, 64)


def test_what_cannot_be_decoded_is_told_when_it_is_looked_at():
    image = packed(b"\xff\xd8 nothing \xff\xd9")
    with pytest.raises(SensorError, match="decoded"):
        image.rgb  # noqa: B018
    with pytest.raises(AttributeError):
        image.depth  # noqa: B018
