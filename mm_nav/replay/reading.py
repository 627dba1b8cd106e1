"""Where the observations of a replay come from: this thread, one of its own, or a process of its own.

Decoding pictures and scoring frames is a third of a replay's work, and much of it holds Python's interpreter, which navigator and
guard need: a process of its own leaves it to them. The observations are the same.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Semaphore
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.bags.reader import BagReader, BagReport
from mm_nav.errors import BagError
from mm_nav.observation import CameraImage
from mm_nav.replay.ahead import Prefetched
from mm_nav.replay.source import Recorded, recorded
from mm_nav.robot import RobotConfig
from mm_nav.runtime.familiarity import Familiarity
from mm_nav.runtime.preprocess import RecentInputs
from mm_nav.sensing.deskew import all_at_once
from mm_nav.sensing.synchronizer import ObservationSynchronizer, StreamCounts, SyncConfig

Place = Literal["here", "thread", "process"]

# So many observations are read ahead, and so many pictures have room: those, the two that the stack looks at, and some.
_AHEAD, _SLOTS = 4, 8
_END_S = 5.0


@dataclass
class Reading:
    """A recording that is being read. items: the observations, once. report, counts (of the synchroniser, by stream) and resets (of
    its clock) are final when the items have ended."""

    items: Iterator[Recorded]
    report: BagReport
    counts: Mapping[str, StreamCounts]
    resets: int = 0


@contextmanager
def open_reading(
    path: Path | Sequence[Path],
    topics: Mapping[str, str] | None,
    sync: SyncConfig,
    familiarity: Familiarity | None,
    preprocess: RecentInputs | None,
    place: Place,
    robot: RobotConfig | None = None,
) -> Iterator[Reading]:
    """Open a recording for one pass. preprocess: makes the inputs that `familiarity` looks at, or is told of them. robot: as that
    of `recorded`.

    From such a process pictures are lent: after the next two items they are others. Raises BagError when it cannot be used.
    """
    with ExitStack() as stack:
        if place == "process":
            yield stack.enter_context(_elsewhere(path, topics, sync, familiarity, preprocess, robot))
            return
        reader = stack.enter_context(BagReader(path, topics))
        synchronizer = ObservationSynchronizer(sync)
        items = recorded(reader, synchronizer, familiarity, preprocess, robot)
        reading = Reading(items, reader.report, synchronizer.counts)
        reading.items = _noting(reading, items, synchronizer)
        if place == "thread":
            reading.items = iter(stack.enter_context(Prefetched(reading.items, _AHEAD)))
        yield reading


def _noting(reading: Reading, items: Iterator[Recorded], sync: ObservationSynchronizer) -> Iterator[Recorded]:
    yield from items
    reading.resets = sync.resets


@contextmanager
def _elsewhere(
    path: Path | Sequence[Path],
    topics: Mapping[str, str] | None,
    sync: SyncConfig,
    familiarity: Familiarity | None,
    preprocess: RecentInputs | None,
    robot: RobotConfig | None,
) -> Iterator[Reading]:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    room = context.Semaphore(_AHEAD)
    process = context.Process(target=_read, args=(sender, room, path, topics, sync, familiarity, robot), daemon=True)
    process.start()
    sender.close()
    rooms: list[SharedMemory] = []
    try:
        reading = Reading(iter(()), _received(receiver, process), {})
        items = _items(reading, receiver, room, process, rooms, preprocess)
        with Prefetched(items, 1) as ahead:
            reading.items = iter(ahead)
            yield reading
    finally:
        process.terminate()
        process.join(_END_S)
        receiver.close()
        for memory in rooms:
            with contextlib.suppress(FileNotFoundError):
                memory.unlink()
            with contextlib.suppress(BufferError):  # somebody still looks at a picture; it goes with him
                memory.close()


def _received(receiver: Connection, process: Any) -> Any:
    """Return what the other process sent; raise what it raised, and BagError when it died."""
    try:
        found = receiver.recv()
    except EOFError as error:
        process.join(_END_S)
        raise BagError(
            f"the process that reads the recording died (status {process.exitcode}; out of memory?): run again"
        ) from error
    if isinstance(found, BaseException):
        raise found
    return found


def _items(
    reading: Reading,
    receiver: Connection,
    room: Semaphore,
    process: Any,
    rooms: list[SharedMemory],
    preprocess: RecentInputs | None,
) -> Iterator[Recorded]:
    while True:
        found = _received(receiver, process)
        if isinstance(found, Reading):
            reading.report.__dict__.update(found.report.__dict__)
            reading.counts, reading.resets = found.counts, found.resets
            return
        if isinstance(found, str):
            rooms.append(SharedMemory(found))
            continue
        item, slot, shape, of_image, of_scan = found
        if slot is not None:
            image = replace(item.observation.image, rgb=_slot(rooms[-1], slot, shape))
            item = item._replace(observation=replace(item.observation, image=image))
            if preprocess is not None and of_image is not None:
                preprocess.know_image(image, of_image)
        if preprocess is not None and of_scan is not None:
            preprocess.know_scan(item.observation.scan, of_scan)
        yield item
        room.release()


def _slot(memory: SharedMemory, slot: int, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    size = int(np.prod(shape))
    return np.ndarray(shape, np.uint8, memory.buf, offset=slot * size)


def _read(
    sender: Connection,
    room: Semaphore,
    path: Path | Sequence[Path],
    topics: Mapping[str, str] | None,
    sync: SyncConfig,
    familiarity: Familiarity | None,
    robot: RobotConfig | None,
) -> None:
    """Be the other process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this one ends it
    cv2.setNumThreads(1)
    memory: SharedMemory | None = None
    try:
        with BagReader(path, topics) as reader:
            sender.send(replace(reader.report, monitors={}))
            synchronizer = ObservationSynchronizer(sync)
            size = 0
            inputs = None if familiarity is None else RecentInputs(familiarity.config)
            for number, item in enumerate(recorded(reader, synchronizer, familiarity, inputs, robot)):
                room.acquire()
                image, scan = item.observation.image, item.observation.scan
                slot, shape = None, None
                of_image = None if inputs is None or image is None else inputs.image(image)
                # What is swept the policy looks at in another way.
                once = scan is not None and all_at_once(item.observation).scan is scan
                of_scan = inputs.scan(scan) if inputs is not None and once else None
                if image is not None:
                    slot, shape = number % _SLOTS, image.rgb.shape
                    if memory is None or image.rgb.nbytes != size:
                        size = image.rgb.nbytes
                        memory = SharedMemory(create=True, size=_SLOTS * size)
                        sender.send(memory.name)
                    _slot(memory, slot, shape)[...] = image.rgb
                    bare = CameraImage(
                        image.stamp_ns, _NONE, image.intrinsics, image.base_T_camera, image.distortion,
                        image.distortion_model,
                    )  # fmt: skip
                    item = item._replace(observation=replace(item.observation, image=bare))
                sender.send((item, slot, shape, of_image, of_scan))
        report = replace(reader.report, monitors={}, final_health=reader.report.health)
        sender.send(Reading(iter(()), report, synchronizer.counts, synchronizer.resets))
    except BrokenPipeError:
        pass
    except BaseException as error:
        sender.send(error)
    finally:
        sender.close()


_NONE: npt.NDArray[np.uint8] = np.empty((0, 0, 3), np.uint8)
