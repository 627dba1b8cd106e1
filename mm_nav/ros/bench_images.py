"""Pictures from one process to another over DDS: as a plain rclpy node gets them, and as ours do."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image

from mm_nav.errors import MmNavError
from mm_nav.ros import qos
from mm_nav.ros.process_group import ENVIRONMENT
from mm_nav.ros.raw_image import parse_image
from mm_nav.ros.transports import VARIABLES, profile_variable, transport_profile
from mm_nav.ros.written import WrittenMessages
from mm_nav.sensing.images import decode_image
from mm_nav.sensing.messages import stamp_ns

SIZES = ((640, 480), (1280, 720))
HZ = 30.0
# Messages as Python objects over the default transports; the same with room in shared memory; and bytes as numpy views, with room.
WAYS = ("default", "typed", "ours")
_TOPIC, _SETTLE_S, _PATIENCE_S = "bench_images", 1.5, 20.0


def bench_images(seconds: float, progress: Callable[[str], None] = lambda what: None) -> dict[str, Any]:
    """Return for each size and way how many pictures a second arrived of 30 sent, and what receiving one cost.

    images_WAY_WIDTHxHEIGHT_per_s; …_cpu_ms: processor time of the receiving process for each picture that was sent; …_latency_ms:
    median from sending to pixels, None = none came. ratio_images_cpu_WIDTHxHEIGHT: how many times as much time Python objects take.
    Raises MmNavError when a process fails.
    """
    report: dict[str, Any] = {}
    for width, height in SIZES:
        size = f"{width}x{height}"
        for way in WAYS:
            progress(f"{size}, {way}")
            found = _measure(way, width, height, seconds)
            report |= {f"images_{way}_{size}_{key}": value for key, value in found.items()}
        report[f"ratio_images_cpu_{size}"] = round(
            report[f"images_typed_{size}_cpu_ms"] / max(1e-6, report[f"images_ours_{size}_cpu_ms"]), 3
        )
    return report


def _measure(way: str, width: int, height: int, seconds: float) -> dict[str, float | None]:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES} | ENVIRONMENT
    if way != "default":
        environment[profile_variable()] = transport_profile()
    command = [sys.executable, "-m", __name__, way, str(width), str(height), str(seconds)]
    receiver = subprocess.Popen([*command, "receive"], stdout=subprocess.PIPE, env=environment, text=True)
    sender = subprocess.Popen([*command, "send"], env=environment)
    try:
        output, _ = receiver.communicate(timeout=4.0 * seconds + 60.0)
    except subprocess.TimeoutExpired as error:
        raise MmNavError(f"no pictures of {width}x{height} came within {4 * seconds + 60:.0f} s") from error
    finally:
        for process in (receiver, sender):
            process.kill()
            process.wait()
    if receiver.returncode:
        raise MmNavError(f"the receiver of pictures ended with status {receiver.returncode}; its message is above")
    found: dict[str, float | None] = json.loads(output)
    return found


def _send(width: int, height: int) -> None:
    node = rclpy.create_node("bench_sender")
    publisher = node.create_publisher(Image, _TOPIC, qos.SENSOR)
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.frame_id = "camera"
    message.data.frombytes(np.random.default_rng(0).integers(0, 255, height * width * 3, np.uint8).tobytes())
    written = WrittenMessages(publisher, [message])
    due = time.monotonic()
    while True:
        written.send(0, time.time_ns())
        due = max(due + 1.0 / HZ, time.monotonic() - 1.0 / HZ)
        time.sleep(max(0.0, due - time.monotonic()))


def _receive(way: str, seconds: float) -> dict[str, float | None]:
    node = rclpy.create_node("bench_receiver")
    came: list[float] = []

    def typed(m: Image) -> None:
        np.array(m.data, np.uint8).reshape(m.height, m.width, 3)
        came.append(1e-6 * (time.time_ns() - stamp_ns(m.header)))

    def ours(buffer: bytes) -> None:
        m = parse_image(buffer)
        decode_image(m.data, m.encoding, m.height, m.width, m.step)
        came.append(1e-6 * (time.time_ns() - stamp_ns(m.header)))

    if way == "ours":
        node.create_subscription(Image, _TOPIC, ours, qos.IMAGE, raw=True)
    else:
        node.create_subscription(Image, _TOPIC, typed, qos.IMAGE)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    until = time.monotonic() + _PATIENCE_S
    while not came and time.monotonic() < until:
        executor.spin_once(timeout_sec=0.1)
    settled = time.monotonic() + _SETTLE_S
    while time.monotonic() < settled:
        executor.spin_once(timeout_sec=0.1)
    came.clear()
    began, cpu = time.monotonic(), _cpu_s()
    while time.monotonic() - began < seconds:
        executor.spin_once(timeout_sec=0.1)
    spent, cpu = time.monotonic() - began, _cpu_s() - cpu
    return {
        "per_s": round(len(came) / spent, 2),
        "cpu_ms": round(1e3 * cpu / spent / HZ, 3),
        "latency_ms": round(float(np.median(came)), 3) if came else None,
    }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Be one of the two processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("width", type=int)
    parser.add_argument("height", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("role", choices=("send", "receive"))
    args = parser.parse_args()
    rclpy.init(args=[])
    if args.role == "send":
        _send(args.width, args.height)
    else:
        print(json.dumps(_receive(args.way, args.seconds)))


if __name__ == "__main__":
    main()
