"""Decoding of camera messages."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_nav.errors import SensorError
from mm_nav.sensing.images import ENCODINGS, decode_compressed, decode_image

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def test_rgb8_is_a_view_of_the_message():
    data = RGB.tobytes()
    out = decode_image(data, "rgb8", 6, 8)
    np.testing.assert_array_equal(out, RGB)
    assert not out.flags.owndata


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("bgr8", RGB[:, :, ::-1]),
        ("rgba8", np.dstack([RGB, np.full((6, 8), 9, np.uint8)])),
        ("bgra8", np.dstack([RGB[:, :, ::-1], np.full((6, 8), 9, np.uint8)])),
    ],
)
def test_colour_order(encoding, pixels):
    np.testing.assert_array_equal(decode_image(np.ascontiguousarray(pixels).tobytes(), encoding, 6, 8), RGB)


def test_padding_at_the_row_ends_is_skipped():
    padded = np.full((6, 8 * 3 + 5), 77, np.uint8)
    padded[:, :24] = RGB.reshape(6, 24)
    np.testing.assert_array_equal(decode_image(padded.tobytes(), "rgb8", 6, 8, step=29), RGB)
    np.testing.assert_array_equal(decode_image(padded.tobytes()[:-5], "rgb8", 6, 8, step=29), RGB)


@pytest.mark.parametrize("big_endian", [False, True])
def test_mono16_keeps_the_upper_byte(big_endian):
    values = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000
    data = values.astype(">u2" if big_endian else "<u2").tobytes()
    out = decode_image(data, "mono16", 6, 8, big_endian=big_endian)
    np.testing.assert_array_equal(out[:, :, 1], values >> 8)


@pytest.mark.parametrize(("encoding", "red_at"), [("bayer_rggb8", (0, 0)), ("bayer_bggr8", (1, 1)),
                                                 ("bayer_grbg8", (0, 1)), ("bayer_gbrg8", (1, 0))])  # fmt: skip
def test_bayer_patterns_give_red_for_red(encoding, red_at):
    mosaic = np.zeros((8, 8), np.uint8)
    mosaic[red_at[0] :: 2, red_at[1] :: 2] = 200
    assert decode_image(mosaic.tobytes(), encoding, 8, 8)[4, 4].tolist() == [200, 0, 0]


@pytest.mark.parametrize(("encoding", "luma"), [("yuv422", 1), ("yuv422_yuy2", 0)])
def test_yuv_grey(encoding, luma):
    packed = np.full((4, 4, 2), 128, np.uint8)
    packed[:, :, luma] = 180
    out = decode_image(packed.tobytes(), encoding, 4, 4)
    assert np.ptp(out) == 0 and out[0, 0, 0] > 180


def test_wrong_messages_are_refused():
    with pytest.raises(SensorError, match="not known"):
        decode_image(b"", "32FC1", 1, 1)
    with pytest.raises(SensorError, match="needs"):
        decode_image(RGB.tobytes()[:-1], "rgb8", 6, 8)
    with pytest.raises(SensorError, match="even width"):
        decode_image(bytes(100), "yuv422", 3, 3)
    for data in (b"", b"not a picture"):
        with pytest.raises(SensorError, match="decoded"):
            decode_compressed(data)


def test_compressed_round_trip():
    _, data = cv2.imencode(".png", RGB[:, :, ::-1])
    np.testing.assert_array_equal(decode_compressed(data.tobytes()), RGB)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(ENCODINGS), st.integers(-1, 9), st.integers(-1, 9), st.integers(0, 40))
def test_any_message_gives_a_picture_or_a_sensor_error(data, encoding, height, width, step):
    try:
        out = decode_image(data, encoding, height, width, step)
    except SensorError:
        return
    assert out.shape == (height, width, 3) and out.dtype == np.uint8
