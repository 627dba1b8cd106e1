"""Training frames of recordings: what the policy would have been fed, and where the robot went from there.

There are no objects, no depth and no words in a recording, so these frames teach ways to poses and to pictures only.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import zarr

from mm_nav.bags.reader import BagReader
from mm_nav.errors import BagError
from mm_nav.learning.bag_drives import CUTS, MARKER, BagConfig, DriveLabeller, Frame
from mm_nav.learning.frames import claim_folder, write_shard
from mm_nav.observation import Observation
from mm_nav.policy.config import PolicyConfig
from mm_nav.replay.source import fingerprint, observations
from mm_nav.runtime.preprocess import Preprocessor, image_geometry, preprocessing_fingerprint
from mm_nav.sensing.deskew import all_at_once
from mm_nav.sensing.rectify import rectified
from mm_nav.sensing.synchronizer import ObservationSynchronizer, SyncConfig

# Gets what of all recordings is read, and what there is, seconds.
OnTime = Callable[[float, float], None]


class Recording(NamedTuple):
    """Which recording it is. fingerprint: see `mm_nav.replay.source.fingerprint`."""

    name: str
    fingerprint: str


@dataclass
class RecordingSummary:
    """What a recording gave. name, fingerprint: as in `Recording`. ahead: frames with a way ahead, the others are seen only as
    memory and as goals. images, scans: frames with one. metres, minutes: of the drives. cuts: by key of
    `mm_nav.learning.bag_drives.CUTS`."""

    name: str
    fingerprint: str
    shards: int = 0
    frames: int = 0
    ahead: int = 0
    images: int = 0
    scans: int = 0
    drives: int = 0
    metres: float = 0.0
    minutes: float = 0.0
    backed_m: float = 0.0
    spun: int = 0
    roundabout: int = 0
    cuts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def what_was_cut(self) -> str:
        """Return a line that says what was left out and why; "" = nothing was."""
        said = [f"{count} x {CUTS[cut]}" for cut, count in self.cuts.items() if count]
        said += [f"{self.backed_m:.1f} m backwards not used"] if self.backed_m > 0.05 else []
        said += [f"{self.spun} frames on the spot left out after a whole turn"] if self.spun else []
        said += [f"{self.roundabout} goals left out, since the way there led round about"] if self.roundabout else []
        return "; ".join(said)


class ObservationFrames:
    """Turns observations into what the network is fed, by the code that feeds it on the robot."""

    def __init__(self, policy: PolicyConfig) -> None:
        self._policy, self._preprocess = policy, Preprocessor(policy)

    def frame(self, observation: Observation) -> Frame | None:
        """Return image (H, W, 3) uint8 without its lens's distortion, image_present () uint8, rays (P, 3) float32, ranges
        and ranges_valid (bins,) float16 and uint8, as in `mm_nav.policy.model.PolicyInputs`; a lost sensor is all zero.

        None where there is neither picture nor scan.
        """
        seen, c = all_at_once(observation), self._policy
        if seen.image is None and seen.scan is None:
            return None
        if seen.image is None:
            image = np.zeros((c.image_height, c.image_width, 3), np.uint8)
            rays = self._preprocess.image(None)[2].rays
        else:
            camera = seen.image
            image = cv2.resize(rectified(camera), (c.image_width, c.image_height), interpolation=cv2.INTER_AREA)
            height, width = camera.rgb.shape[:2]
            rays = image_geometry(c, height, width, camera.intrinsics, camera.base_T_camera).rays
        ranges, valid = self._preprocess.scan(seen.scan)
        return {
            "image": image,
            "image_present": np.array(seen.image is not None, np.uint8),
            "rays": rays,
            "ranges": ranges[0].astype(np.float16),
            "ranges_valid": valid[0].astype(np.uint8),
        }


def collect_bags(
    directory: Path,
    bags: Sequence[Path | Sequence[Path]],
    config: BagConfig,
    policy: PolicyConfig,
    topics: Mapping[str, str] | None = None,
    source: str = "",
    on_time: OnTime = lambda done_s, of_s: None,
) -> list[RecordingSummary]:
    """Write the frames of recordings as shards; return what each gave.

    bags, topics: each as in `BagReader`. source: where the recordings come from and their licence; kept in every shard. What an
    interrupted run has finished is not read again. Raises BagError when a recording cannot be read or none gives a frame,
    ConfigError when the folder holds data of other settings or of other recordings.
    """
    lengths = []
    for path in bags:
        with BagReader(path, topics) as reader:
            lengths.append(reader.report.duration_s)
    recordings = [Recording((path if isinstance(path, Path) else path[0]).name, fingerprint(path)) for path in bags]
    settings = {
        "bags": asdict(config),
        "policy": policy.to_dict(),
        "preprocessing": preprocessing_fingerprint(policy),
        "topics": dict(topics or {}),
        "source": source,
        "recordings": [recording._asdict() for recording in recordings],
    }
    claim_folder(directory, MARKER, settings)
    found, of_s, done_s = [], sum(lengths), 0.0
    for index, (path, length) in enumerate(zip(bags, lengths, strict=True)):
        writer = _ShardWriter(directory, index, config, policy, source, recordings[index])
        summary = writer.finished()
        if summary is None:
            summary = RecordingSummary(*recordings[index])
            on_read = partial(_add_time, on_time, done_s, of_s)
            for frames in recorded_frames(path, config, policy, topics, summary, on_read):
                writer.add(frames, summary)
            writer.finish(summary)
        found.append(summary)
        done_s += length
        on_time(done_s, of_s)
    if not any(summary.frames for summary in found):
        reasons = "; ".join(f"{s.name}: {'; '.join(s.warnings) or 'no observation'}" for s in found)
        raise BagError(f"no recording gave a frame ({reasons}): check their topics and stamps")
    return found


def _add_time(on_time: OnTime, before_s: float, of_s: float, done_s: float) -> None:
    on_time(before_s + done_s, of_s)


def recorded_frames(
    path: Path | Sequence[Path],
    config: BagConfig,
    policy: PolicyConfig,
    topics: Mapping[str, str] | None,
    summary: RecordingSummary,
    on_time: Callable[[float], None] = lambda done_s: None,
) -> Iterator[list[Frame]]:
    """Yield the frames of a recording with their labels (see `DriveLabeller.see`), some at a time; fill in `summary`.

    on_time: gets how much was read, seconds. Raises BagError when the recording cannot be read.
    """
    maker, labeller = ObservationFrames(policy), DriveLabeller(config, policy.waypoint_spacing_m, policy.steps)
    with BagReader(path, topics) as reader:
        report = reader.report
        sync = ObservationSynchronizer(SyncConfig(expect_images="image" in report.used))
        begun: int | None = None
        for observation in observations(reader, sync, config.robot):
            begun = observation.stamp_ns if begun is None else begun
            done = labeller.see(observation.stamp_ns, observation.odometry, partial(maker.frame, observation))
            if done:
                yield done
            on_time(min(report.duration_s, max(0.0, 1e-9 * (observation.stamp_ns - begun))))
        yield labeller.finish()
        counts, dropped = labeller.counts, sync.counts["odometry"].dropped
        if dropped:
            report.warn(f"{dropped} observations had no odometry near their stamp and were left out")
        if not counts.frames:
            report.warn("it gave no frame: scans or pictures, and odometry, never come together in time")
        elif not counts.ahead:
            report.warn("no frame has a way ahead: the robot hardly moved, so they teach nothing")
        summary.warnings = list(report.warnings)
    for name in ("drives", "spun", "roundabout"):
        setattr(summary, name, getattr(counts, name))
    summary.metres, summary.backed_m = round(counts.metres, 2), round(counts.backed_m, 2)
    summary.minutes, summary.cuts = round(counts.seconds / 60.0, 3), dict(counts.cuts)


class _ShardWriter:
    """Writes the shards of one recording as it is read. The last one says what all of them hold, so that a recording that was
    read to its end is known."""

    def __init__(
        self,
        directory: Path,
        index: int,
        config: BagConfig,
        policy: PolicyConfig,
        source: str,
        recording: Recording,
    ) -> None:
        self._directory, self._index, self._most = directory, index, config.frames_per_shard
        self._frames: list[Frame] = []
        self._attributes = {
            "source": source,
            "recording": recording._asdict(),
            "waypoint_spacing_m": policy.waypoint_spacing_m,
            "preprocessing": preprocessing_fingerprint(policy),
        }

    def _shards(self) -> list[Path]:
        return sorted(self._directory.glob(f"shard_{self._index:04d}_*.zarr"))

    def finished(self) -> RecordingSummary | None:
        """Return what the recording gave when it was read to its end before; else take away what there is of it."""
        shards = self._shards()
        if shards:
            kept = zarr.open_group(str(shards[-1]), mode="r").attrs.get("summary")
            if kept:
                return RecordingSummary(**kept)
        for shard in shards:
            shutil.rmtree(shard)
        return None

    def add(self, frames: Sequence[Frame], summary: RecordingSummary) -> None:
        """Take frames; write a shard when enough are left for another."""
        self._frames += frames
        summary.frames += len(frames)
        for frame in frames:
            summary.ahead += bool((frame["goal_m"] > 0).any())
            summary.images += int(frame["image_present"])
            summary.scans += bool(frame["ranges_valid"].any())
        while len(self._frames) >= 1.5 * self._most:
            self._write(self._frames[: self._most], summary, {})
            del self._frames[: self._most]

    def finish(self, summary: RecordingSummary) -> None:
        """Write what is left: at least one frame, if there was any."""
        if self._frames:
            self._write(self._frames, summary, {"summary": {**asdict(summary), "shards": summary.shards + 1}})

    def _write(self, frames: Sequence[Frame], summary: RecordingSummary, attributes: dict[str, Any]) -> None:
        arrays = {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}
        drives, first, world = np.unique(arrays.pop("drive"), return_index=True, return_inverse=True)
        origins = arrays.pop("origin")
        worlds = [
            {"objects": [], "drive": int(drive), "origin": [float(v) for v in origins[k]]}
            for drive, k in zip(drives, first, strict=True)
        ]
        path = self._directory / f"shard_{self._index:04d}_{summary.shards:04d}.zarr"
        write_shard(path, arrays | {"world": world.astype(np.int32)}, worlds, **self._attributes, **attributes)
        summary.shards += 1
