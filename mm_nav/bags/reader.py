"""Recordings as the stack's nouns: ROS 1 .bag, rosbag2 sqlite3 and MCAP, topics found by type."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from types import TracebackType

from mm_nav.bags.containers import Channel, open_recording
from mm_nav.bags.decode import Raw, header_stamp_ns, read_image, read_odometry, read_transform, read_transforms, wire_of
from mm_nav.bags.health import TopicHealth, TopicMonitor
from mm_nav.bags.items import Item, ItemMakers, Maker, RecordedCommand, lens_from
from mm_nav.bags.mapping import FRAMES, SENSORS, TF, TYPES, camera_info, check_keys, choose, load_mapping
from mm_nav.bags.mounts import Mounts
from mm_nav.bags.pose_sources import Edge, PoseDifferentiator, best_odometry_edge, name_of, planar_pose
from mm_nav.bags.recording import reason
from mm_nav.errors import BagError, SensorError
from mm_nav.observation import Odometry

__all__ = ["TYPES", "BagMessage", "BagReader", "BagReport", "Item", "RecordedCommand", "load_mapping"]

_TF_KIND = "tf"
# Sensors of one robot share a clock; beyond this their stamps cannot be compared.
_CLOCK_TOLERANCE_S = 1.0
_PROBES = 3
# Transforms are looked for in this much of a recording before it is read in earnest.
_PROBE_NS = 5_000_000_000
# A topic of fixed transforms has few messages; all are read, because some are recorded late.
_MAX_STATIC = 10_000
# A first message this long before the others was kept from another time, or has none.
_STRAY_NS = 24 * 3600 * 1_000_000_000
# Pictures of these are distances.
_DEPTH = ("16uc1", "32fc1")


@dataclass(frozen=True)
class BagMessage:
    """One message. kind: a key of TYPES. receive_ns: when it was recorded. item: knows when it was measured."""

    kind: str
    receive_ns: int
    item: Item


@dataclass
class BagReport:
    """What reading a bag showed. used: kind -> topic. skipped: messages per topic that could not be used, and why."""

    path: str
    duration_s: float = 0.0
    used: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    monitors: dict[str, TopicMonitor] = field(default_factory=dict, repr=False)
    missing_mounts: list[str] = field(default_factory=list)
    # In place of `monitors`, where those are not at hand any more.
    final_health: dict[str, TopicHealth] | None = field(default=None, repr=False)

    def warn(self, text: str) -> None:
        """Note a warning, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    @property
    def health(self) -> dict[str, TopicHealth]:
        """How healthy what was read so far is, by kind; "tf" are the transforms from the odom frame to the robot's base."""
        if self.final_health is not None:
            return self.final_health
        pose = self.monitors.get("odometry", self.monitors.get(_TF_KIND))
        reference = None if pose is None else pose.health()
        found = {kind: monitor.health(reference) for kind, monitor in self.monitors.items()}
        if self.missing_mounts:
            transforms = found.get(_TF_KIND, TopicHealth("/tf"))
            found[_TF_KIND] = replace(transforms, missing_mounts=tuple(self.missing_mounts))
        return found


class BagReader:
    """A recording, open for reading; use it in a `with` statement.

    path: a .bag, .mcap or .db3 file, a rosbag2 folder, a folder of the parts of one recording, or these parts. topics: kind ->
    topic, for bags where the type does not decide; also camera_info, base_frame and odom_frame (mapping.KEYS). The robot's pose
    is taken from Odometry, else from transforms from the odom frame, else from poses of a motion-capture system, else from
    transforms from a map. Raises BagError when the recording is missing, empty, unreadable, or has no pose, or neither LiDAR nor
    camera.
    """

    def __init__(self, path: Path | Sequence[Path], topics: Mapping[str, str] | None = None) -> None:
        self.path = path if isinstance(path, Path) else path[0]
        self.report = BagReport(str(self.path))
        self._wanted = dict(topics or {})
        check_keys(self._wanted)
        try:
            self._recording = open_recording(path)
        except BagError:
            raise
        except Exception as error:
            raise BagError(f"{self.path} cannot be read ({reason(error)}): record it again") from error
        try:
            self._mounts = Mounts(self.report.warn)
            self._makers = ItemMakers(self._mounts, self.report.warn)
            self._transforms = [c for c in self._recording.channels if c.msgtype in TF and c.count != 0]
            self._start_ns = self._begin()
            self._edge: Edge | None = None
            self._pose_from_tf = False
            self._look_at_transforms()
            self._chosen = self._choose()
            self._pose_from_tf = "odometry" not in self._chosen
            self._look_at_camera()
            self._look_at_clocks()
            self._name_base()
            self.report.missing_mounts = self._mounts.missing
        except BagError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise BagError(
                f"{self.path} is damaged ({reason(error)}): record it again, or repair it with its own tool"
            ) from error

    def __enter__(self) -> BagReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        try:
            self._recording.close()
        except Exception as error:
            self.report.warn(f"{self.path} did not close cleanly ({reason(error)})")

    def messages(self, kinds: Collection[str] | None = None) -> Iterator[BagMessage]:
        """Yield the messages, of these kinds only if given, in the order they were recorded; damage is told in the report's
        warnings.

        Messages that cannot be used are counted in report.skipped, and warned about once per topic.
        """
        chosen = {kind: c for kind, c in self._chosen.items() if kinds is None or kind in kinds}
        makers: dict[str, tuple[str, Maker]] = {}
        for kind, channel in chosen.items():
            makers[channel.topic] = kind, self._makers.maker(kind, channel, self._monitor(kind, channel.topic).note)
        wanted = list(chosen.values())
        poses = self._pose_from_tf and (kinds is None or "odometry" in kinds)
        if poses or kinds is None or set(SENSORS) & set(kinds):
            wanted += self._transforms
            transforms = self._transform_maker()
        counts, last = self.report.counts, self._start_ns
        self._makers.differentiator = PoseDifferentiator()
        iterator = self._recording.messages(wanted)
        try:
            for channel, receive, raw in iterator:
                last = receive
                found = makers.get(channel.topic)
                try:
                    if found is None:
                        for odometry in transforms(raw, receive, channel):
                            if poses:
                                counts["odometry"] = counts.get("odometry", 0) + 1
                                yield BagMessage("odometry", receive, odometry)
                        continue
                    kind, make = found
                    item = make(raw, receive)
                except Exception as error:
                    # Whatever a damaged message does to its decoder, the next one may be whole.
                    self._skip(channel.topic, error)
                    continue
                counts[kind] = counts.get(kind, 0) + 1
                yield BagMessage(kind, receive, item)
        except Exception as error:
            at = (last - self._start_ns) * 1e-9
            self.report.warn(
                f"{self.path} is damaged {at:.1f} s after its start ({reason(error)}): the rest is not used"
            )
        finally:
            for monitor in self.report.monitors.values():
                monitor.flush()
            for text in self._recording.damage:
                self.report.warn(text)

    def refuse(self, kind: str, error: Exception) -> None:
        """Count a message that turned out to be of no use only when somebody looked at it."""
        self._skip(self.report.used[kind], error)

    def _skip(self, topic: str, error: Exception) -> None:
        self.report.skipped[topic] = self.report.skipped.get(topic, 0) + 1
        if self.report.skipped[topic] == 1:
            self.report.warn(f"messages on {topic} cannot be used: {reason(error)}")

    def _monitor(self, kind: str, topic: str) -> TopicMonitor:
        def jumped(at_s: float, by_s: float) -> None:
            self.report.warn(f"the stamps of {topic} jump by {by_s:+.1f} s at {at_s:.1f} s: a clock was set")

        self.report.monitors[kind] = TopicMonitor(topic, self._start_ns, jumped)
        return self.report.monitors[kind]

    def _transform_maker(self) -> Callable[[Raw, int, Channel], list[Odometry]]:
        """Return what takes note of mounts, and returns the robot's poses, where those come from transforms."""
        source = next((c for c in self._transforms if not c.topic.endswith("static")), None)
        if source is None:
            source = self._transforms[0] if self._transforms else None
        mounts, makers = self._mounts, self._makers
        taken = None if source is None else makers.taken(source, self._monitor(_TF_KIND, source.topic).note)

        def make(raw: Raw, receive: int, channel: Channel) -> list[Odometry]:
            found: list[Odometry] = []
            for transform in read_transforms(raw, wire_of(raw, channel.encoding)):
                edge = transform.frame, transform.child
                if edge == self._edge or (self._edge is None and self._take_edge([edge])):
                    assert taken is not None
                    stamp = taken(transform.stamp_ns, receive)
                    if self._pose_from_tf:
                        found.append(makers.differentiator.add(stamp, planar_pose(transform.pose)))
                        continue
                mounts.add(transform)
            return found

        return make

    # Before the first message

    def _begin(self) -> int:
        """Return when the recording starts, and note how long it is."""
        start, end = self._recording.start_ns, self._recording.end_ns
        if end - start > _STRAY_NS:
            known = {msgtype for types in TYPES.values() for msgtype in types}
            first = self._first([c for c in self._recording.channels if c.msgtype in known], 1)
            if first and first[0][0] - start > _STRAY_NS:
                early = 1e-9 * (first[0][0] - start) / 3600
                self.report.warn(
                    f"{self.path} has messages recorded {early:.0f} h before all others: they do not count"
                )
                start = first[0][0]
        self.report.duration_s = max(0, end - start) * 1e-9
        return start

    def _first(self, channels: Sequence[Channel], count: int) -> list[tuple[int, Raw]]:
        """Return when the first messages of some topics were recorded, and the messages; none where there is damage."""
        try:
            return [(receive, raw) for _, receive, raw in islice(self._recording.messages(channels), count)]
        except Exception as error:
            self.report.warn(f"{self.path} is damaged at its start ({reason(error)})")
            return []

    def _look_at_transforms(self) -> None:
        """Take note of the mounts, and of which transform tells where the robot is."""
        edges: set[Edge] = set()
        for channel in self._transforms:
            fixed = channel.topic.endswith("static") and 0 <= channel.count <= _MAX_STATIC
            stop = None if fixed else self._start_ns + _PROBE_NS
            try:
                for _, _, raw in self._recording.messages([channel], None, stop):
                    try:
                        for transform in read_transforms(raw, wire_of(raw, channel.encoding)):
                            self._mounts.add(transform)
                            if not fixed:
                                edges.add((transform.frame, transform.child))
                    except SensorError:
                        continue  # is counted when it is read in earnest
            except Exception as error:
                self.report.warn(f"transforms on {channel.topic} cannot all be read ({reason(error)})")
        self._take_edge(edges)

    def _take_edge(self, edges: Collection[Edge]) -> bool:
        """Take one of these transforms (parent, child) for the robot's pose, if any tells it; return whether."""
        odom, base = (self._wanted.get(key, "").strip("/") for key in FRAMES[::-1])
        if odom or base:
            edges = [e for e in edges if (not odom or name_of(e[0]) == odom) and (not base or name_of(e[1]) == base)]
            self._edge = min(edges, default=None) if odom and base else best_odometry_edge(edges)
        else:
            self._edge = best_odometry_edge(edges)
        if self._edge is not None and self._pose_from_tf:
            self._mounts.base = name_of(self._edge[1])
        return self._edge is not None

    def _choose(self) -> dict[str, Channel]:
        def usable(channel: Channel) -> bool:
            if channel.msgtype.endswith("CompressedImage"):
                return True
            for _, raw in self._first([channel], 1):
                try:
                    depth = read_image(raw, wire_of(raw, channel.encoding)).encoding.lower() in _DEPTH
                except SensorError:
                    return True
                if depth:
                    self.report.warn(f"{channel.topic} has distances, no colours: it is not used")
                return not depth
            return True

        odom = self._edge is not None and name_of(self._edge[0]).endswith("odom")
        chosen = choose(self._recording.channels, self._wanted, self.path, self.report.warn, usable, odom)
        self.report.used = {kind: c.topic for kind, c in chosen.items()}
        if "odometry" not in chosen:
            moving = [c.topic for c in self._transforms if not c.topic.endswith("static")]
            self.report.used["odometry"] = moving[0] if moving else "/tf"
            self.report.warn("no odometry topic: the robot's pose and velocity are taken from transforms")
        return chosen

    def _name_base(self) -> None:
        """Find out which frame the robot's pose is of."""
        channel = self._chosen.get("odometry")
        if "base_frame" in self._wanted:
            self._mounts.base = self._wanted["base_frame"]
        elif channel is None:
            if self._edge is not None:
                self._mounts.base = name_of(self._edge[1])
        elif channel.msgtype.endswith(("Odometry", "TransformStamped")):
            read = read_odometry if channel.msgtype.endswith("Odometry") else read_transform
            for _, raw in self._first([channel], 1):
                try:
                    self._mounts.base = name_of(read(raw, wire_of(raw, channel.encoding)).child)
                except SensorError:
                    continue

    def _look_at_camera(self) -> None:
        image = self._chosen.get("image")
        if image is None:
            return
        info = camera_info(self._recording.channels, image.topic, self._wanted.get("camera_info"), self.path)
        for _, raw in self._first([info], _PROBES) if info is not None else []:
            assert info is not None
            try:
                message = self._recording.deserialize(raw, info.msgtype, info.encoding)
                self._makers.lens = lens_from(message, "rect" in image.topic, self.report.warn)
            except Exception as error:
                self.report.warn(f"messages on {info.topic} cannot be used: {reason(error)}")
            if self._makers.lens is not None:
                return

    def _look_at_clocks(self) -> None:
        """Find out whether header stamps can be trusted."""
        offsets: dict[str, float] = {}
        any_message = False
        sources = [c for kind, c in self._chosen.items() if kind != "command"]
        for channel in sources if not self._pose_from_tf else [*sources, *self._transforms]:
            stamps: list[tuple[int, int]] = []
            for receive, raw in self._first([channel], _PROBES):
                any_message = True
                try:
                    wire = wire_of(raw, channel.encoding)
                    if channel.msgtype not in TF:
                        stamps.append((receive, header_stamp_ns(raw, wire)))
                    else:
                        poses = [t for t in read_transforms(raw, wire) if (t.frame, t.child) == self._edge]
                        stamps += [(receive, t.stamp_ns) for t in poses]
                except SensorError:
                    continue
            if len(stamps) > 1 and not any(stamp for _, stamp in stamps):
                self._makers.without_stamp.add(channel.topic)
                self.report.warn(f"messages on {channel.topic} have no stamps: times of recording are used for them")
            elif stamps:
                offsets[channel.topic] = statistics.median(1e-9 * (receive - stamp) for receive, stamp in stamps)
        if not any_message:
            raise BagError(f"{self.path} has no messages that can be used: record it again")
        values = list(offsets.values())
        # What has no stamp has the recorder's clock.
        values += [0.0] if self._makers.without_stamp and values else []
        if values and max(values) - min(values) > _CLOCK_TOLERANCE_S:
            far = ", ".join(f"{topic} {value:.1f} s" for topic, value in offsets.items())
            self.report.warn(
                f"the clocks of the sensors differ (recorded after measured by: {far}): times of recording are used"
            )
            self._makers.use_receive = True
