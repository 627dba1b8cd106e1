"""A rosbag2 recording being written: a folder of MCAP files with metadata.yaml, as `ros2 bag`, rosbags and Foxglove read it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from mm_nav.bags.mcap_log import LogConfig, McapLog
from mm_nav.errors import BagError

# Humble reads it as well as Kilted: from 9 on, the quality of service is no text any more.
_VERSION = 8


@dataclass(frozen=True)
class TopicInfo:
    """What readers are told of a topic.

    msgtype: such as "sensor_msgs/msg/LaserScan". definition: of the message and all that it is made of, as ros2msg; "" = not
    known. qos: offered_qos_profiles, YAML. type_hash: RIHS01_…, "" = not known.
    """

    name: str
    msgtype: str
    definition: str
    qos: str = ""
    type_hash: str = ""


@dataclass
class _File:
    log: McapLog
    channels: dict[int, int]  # topic -> channel
    schemas: dict[str, int]


class Rosbag2Log:
    """A recording in a new folder; use it in a `with` statement, whose normal end writes summaries and metadata.yaml.

    max_bytes: begin a new file when one has grown to this, 0 = never. counts: messages by topic number. Not for several threads
    at once. Raises BagError when the folder exists or cannot be written, or the disk is full; what was written until then can be
    read.
    """

    def __init__(
        self,
        folder: Path,
        config: LogConfig | None = None,
        max_bytes: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self._config, self._limit, self._clock = folder, config or LogConfig(), max_bytes, clock
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError as error:
            what = "exists already" if folder.exists() else f"cannot be made: {error.filename} is a file"
            raise BagError(f"{folder} {what}: give another folder with --out, or remove it") from error
        except OSError as error:
            raise BagError(f"{folder} cannot be made ({error.strerror}): give a folder you may write") from error
        self.topics: list[TopicInfo] = []
        self.counts: list[int] = []
        self.custom: dict[str, str] = {}
        self._files: list[_File] = []
        self._closed = False
        self._begin_file()

    def __enter__(self) -> Rosbag2Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        with suppress(BagError):  # the first error is the one to tell
            self.close()

    @property
    def files(self) -> list[Path]:
        """The files so far."""
        return [file.log.path for file in self._files]

    @property
    def bytes_written(self) -> int:
        """Bytes given to the kernel so far."""
        return sum(file.log.bytes_written for file in self._files)

    def add_topic(self, topic: TopicInfo) -> int:
        """Add a topic and return its number."""
        self.topics.append(topic)
        self.counts.append(0)
        self._declare(self._files[-1], len(self.topics) - 1)
        return len(self.topics) - 1

    def write(self, topic: int, receive_ns: int, data: bytes, publish_ns: int = 0, sequence: int = 0) -> None:
        """Add a message."""
        log = self._files[-1].log
        if self._limit and log.message_count and log.bytes_written + log.pending_bytes + len(data) > self._limit:
            self._end_file(self._files[-1])
            self._begin_file()
        file = self._files[-1]
        file.log.add_message(file.channels[topic], receive_ns, data, publish_ns, sequence)
        self.counts[topic] += 1

    def poll(self) -> None:
        """Hand on what has waited long enough; call a few times a second."""
        self._files[-1].log.poll()

    def close(self) -> None:
        """End the last file and write metadata.yaml. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._end_file(self._files[-1])
        finally:
            self._write_metadata()

    def _begin_file(self) -> None:
        path = self.folder / f"{self.folder.name}_{len(self._files)}.mcap"
        file = _File(McapLog(path, self._config, self._clock), {}, {})
        self._files.append(file)
        for number in range(len(self.topics)):
            self._declare(file, number)
        _sync_folder(self.folder)

    def _declare(self, file: _File, number: int) -> None:
        topic = self.topics[number]
        if topic.msgtype not in file.schemas:
            encoding = "ros2msg" if topic.definition else ""
            file.schemas[topic.msgtype] = file.log.add_schema(topic.msgtype, encoding, topic.definition.encode())
        metadata = {"offered_qos_profiles": topic.qos, "topic_type_hash": topic.type_hash}
        file.channels[number] = file.log.add_channel(topic.name, file.schemas[topic.msgtype], metadata)

    def _end_file(self, file: _File) -> None:
        try:
            file.log.flush()
        finally:
            text = yaml.safe_dump(self._metadata([file]), sort_keys=False)
            file.log.close({"rosbag2": {"serialized_metadata": text}})

    def _write_metadata(self) -> None:
        path, part = self.folder / "metadata.yaml", self.folder / ".metadata.yaml.part"
        text = yaml.safe_dump({"rosbag2_bagfile_information": self._metadata(self._files)}, sort_keys=False)
        try:
            with part.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise BagError(
                f"{path} cannot be written ({error.strerror}): the .mcap files beside can be read without it"
            ) from error
        _sync_folder(self.folder)

    def _metadata(self, files: list[_File]) -> dict[str, Any]:
        """Return rosbag2's description of files that are whole."""
        described = []
        for file in files:
            log = file.log
            start = log.start_ns if log.message_count else 0
            described.append(
                {
                    "path": log.path.name,
                    "starting_time": {"nanoseconds_since_epoch": start},
                    "duration": {"nanoseconds": log.end_ns - log.start_ns},
                    "message_count": log.message_count,
                }
            )
        logs = [file.log for file in files if file.log.message_count]
        start = min((log.start_ns for log in logs), default=0)
        topics = [
            {
                "topic_metadata": {
                    "name": topic.name,
                    "type": topic.msgtype,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": topic.qos,
                    "type_description_hash": topic.type_hash,
                },
                "message_count": sum(
                    f.log.counts.get(f.channels[number], 0) for f in files if number in f.channels
                ),
            }
            for number, topic in enumerate(self.topics)
        ]  # fmt: skip
        return {
            "version": _VERSION,
            "storage_identifier": "mcap",
            "duration": {"nanoseconds": max((log.end_ns for log in logs), default=0) - start},
            "starting_time": {"nanoseconds_since_epoch": start},
            "message_count": sum(log.message_count for log in logs),
            "topics_with_message_count": topics,
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [file.log.path.name for file in files],
            "files": described,
            "custom_data": self.custom or None,
            "ros_distro": os.environ.get("ROS_DISTRO", "mm_nav"),
        }


def _sync_folder(folder: Path) -> None:
    """Make new names last through a power cut, where the file system can."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    with suppress(OSError):
        os.fsync(handle)
    os.close(handle)
