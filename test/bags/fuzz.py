"""Damages small recordings of every container at random and reads them: messages or a BagError, nothing else.

    python test/bags/fuzz.py --count 10000 --seed 0 [--reader]

A failure is printed with the seed that makes it again: `--seed SEED --count 1`.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np
from sample_recordings import CONTAINERS, made, write_ros1, write_rosbag2

from mm_nav.bags.containers import open_recording
from mm_nav.bags.reader import BagReader
from mm_nav.bags.writer import open_writer
from mm_nav.errors import BagError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.observation import CameraImage, LaserScan, Observation, Odometry, PointCloud

SECONDS = 10
MEMORY = 3 * 2**30
EXTREMES = (0, 1, 2**7, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1)


class Hang(BaseException):
    """A recording took too long; not an Exception, so that nobody takes it for damage."""


def samples(folder: Path) -> dict[str, dict[str, bytes]]:
    """Return name -> files of small recordings."""
    found = {}
    for name, (encoding, writer) in CONTAINERS.items():
        path = writer(folder / name, made(60, encoding, picture=1500))
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        found[name] = {f.name: f.read_bytes() for f in files}
    messages = made(80)
    parts = [write_rosbag2(folder / f"part{k}", messages[20 * k : 20 * k + 20]) for k in range(4)]
    split = {f"split_{k}.mcap": (p / f"{p.name}.mcap").read_bytes() for k, p in enumerate(parts)}
    split["metadata.yaml"] = (
        "rosbag2_bagfile_information:\n  version: 5\n  storage_identifier: mcap\n  relative_file_paths:\n"
        + "".join(f"    - split_{k}.mcap\n" for k in range(4))
    ).encode()
    found["split"] = split
    bags = [write_ros1(folder / f"drive_{k}.bag", made(30, "ros1", k), "lz4", 5000) for k in range(2)]
    found["split-ros1"] = {f.name: f.read_bytes() for f in bags}
    return found


def robot_samples(folder: Path) -> dict[str, dict[str, bytes]]:
    """Return name -> files of recordings that a robot could be driven by."""
    found = {}
    rng = np.random.default_rng(0)
    mount = np.array([[0.0, 0, 1, 0.1], [-1, 0, 0, 0], [0, -1, 0, 0.3], [0, 0, 0, 1]])
    camera = np.array([[9.0, 0, 8], [0, 9, 6], [0, 0, 1]])
    for name, zstd in (("mcap", False), ("mcap-zstd", True), ("sqlite3", False), ("ros1.bag", False)):
        with open_writer(folder / name, name.split("-")[0].removesuffix(".bag"), zstd=zstd) as writer:
            for k in range(25):
                stamp = 1_000_000_000 + 100_000_000 * k
                odometry = Odometry(stamp, Pose2D(0.1 * k, -0.2, 0.1 * k), Twist2D(1.0, -0.3))
                scan = LaserScan(
                    stamp, rng.uniform(0.2, 5, 40).astype(np.float32), -3.0, 0.1, 0.1, 8.0, Pose2D(0.1, 0, 0)
                )
                picture = CameraImage(stamp, rng.integers(0, 256, (12, 16, 3), np.uint8), camera, mount)
                cloud = PointCloud(stamp, rng.normal(size=(20, 3)).astype(np.float32))
                writer.add(Observation(stamp, odometry, scan, picture, cloud), Twist2D(0.2, 0.1))
        path = folder / name
        found[name] = {f.name: f.read_bytes() for f in (sorted(path.iterdir()) if path.is_dir() else [path])}
    return found


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """Return data with one kind of damage."""
    size = len(data)
    if size < 8:
        return data
    kind = rng.integers(9)
    at = int(rng.integers(size))
    length = int(min(size - at, 2 ** rng.uniform(0, 15)))
    if kind == 0:
        broken = bytearray(data)
        for where in rng.integers(0, size, rng.integers(1, 20)):
            broken[where] ^= 1 << int(rng.integers(8))
        return bytes(broken)
    if kind == 1:
        return data[:at] + bytes(rng.integers(0, 256, length, np.uint8)) + data[at + length :]
    if kind == 2:
        return data[:at] + bytes([int(rng.choice([0, 5, 255]))]) * length + data[at + length :]
    if kind == 3:
        return data[:at]
    if kind == 4:
        return data[:at] + data[at + length :]
    if kind == 5:
        return data[: at + length] + data[at : at + length] + data[at + length :]
    if kind == 6:
        other = int(rng.integers(size))
        return data[:at] + data[other : other + length] + data[at:]
    # A length set to an extreme: wherever a small number stands that could be one.
    width = int(rng.choice([2, 4, 8]))
    small = np.flatnonzero(np.frombuffer(data, np.uint8) == 0)
    if kind == 7 and len(small):
        at = max(0, int(rng.choice(small)) - int(rng.integers(1, width)))
    value = int(rng.choice(np.array(EXTREMES, object))) % 2 ** (8 * width)
    order = "big" if rng.integers(4) == 0 else "little"
    return data[:at] + value.to_bytes(width, order) + data[at + width :]


def text_damage(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a text file with a line or a word changed."""
    lines = data.split(b"\n")
    at = int(rng.integers(len(lines)))
    kind = rng.integers(5)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[int(rng.integers(len(lines)))])
    elif kind == 2:
        lines[at] = bytes(rng.integers(0, 256, int(rng.integers(1, 40)), np.uint8))
    elif kind == 3:
        lines[at] = lines[at].replace(b":", b": [").replace(b"_0", b"_9")
    else:
        return damage(data, rng)
    return b"\n".join(lines)


def one(seed: int, pool: dict[str, dict[str, bytes]], folder: Path, reader: bool = False) -> str:
    """Damage and read one recording; return the outcome."""
    rng = np.random.default_rng(seed)
    name = list(pool)[int(rng.integers(len(pool)))]
    files = dict(pool[name])
    for _ in range(int(rng.integers(1, 4))):
        victim = list(files)[int(rng.integers(len(files)))]
        files[victim] = text_damage(files[victim], rng) if victim.endswith(".yaml") else damage(files[victim], rng)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for file, data in files.items():
        (folder / file).write_bytes(data)
    if name.endswith("sqlite3") and rng.integers(8) == 0:
        (folder / f"{name}.db3-wal").write_bytes(damage(b"\x37\x7f\x06\x82" + bytes(6000), rng))
    path = folder if len(files) > 1 or rng.integers(2) else folder / next(iter(files))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        return name.split("-")[0] + (_read_as_robot(path) if reader else _read(path))
    except BagError as error:
        assert str(error) and "\n" not in str(error), repr(str(error))
        return name.split("-")[0] + " refused"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _read(path: Path) -> str:
    recording = open_recording(path)
    count = 0
    try:
        for channel, receive, raw in recording.messages():
            assert isinstance(receive, int) and channel in recording.channels
            if count % 5 == 0:
                with contextlib.suppress(BagError):
                    recording.deserialize(raw, channel.msgtype, channel.encoding)
            count += 1
    finally:
        recording.close()
    assert all("\n" not in w for w in recording.damage)
    return " damage noted" if recording.damage else " read"


def _read_as_robot(path: Path) -> str:
    with BagReader(path) as reader:
        for _ in reader.messages():
            pass
        return " damage noted" if reader.report.warnings else " read"


def watch() -> None:
    """Raise Hang when the timer runs out."""

    def raise_hang(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, raise_hang)


def main() -> int:
    """Run as the module's docstring says; return 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", action="store_true", help="through BagReader, as the replay reads")
    options = parser.parse_args()
    watch()
    outcomes: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory(prefix="mm_nav_fuzz_") as folder:
        root = Path(folder)
        (root / "samples").mkdir()
        pool = (robot_samples if options.reader else samples)(root / "samples")
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.RLIM_INFINITY))
        for seed in range(options.seed, options.seed + options.count):
            try:
                outcomes[one(seed, pool, root / "damaged", options.reader)] += 1
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                outcomes[f"FAILED {type(error).__name__}"] += 1
                print(f"--seed {seed} --count 1: {traceback.format_exc(limit=-4)}", flush=True)
            if (seed - options.seed + 1) % 1000 == 0:
                print(seed - options.seed + 1, dict(sorted(outcomes.items())), flush=True)
    print(f"{options.count} damaged recordings:")
    for outcome, count in sorted(outcomes.items()):
        print(f"{count:7d} {outcome}")
    return int(any(outcome.startswith("FAILED") for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
