"""What familiarity scores are worth: frames of worlds not trained on, the same with something wrong, and real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import scipy.stats

from mm_nav.bags.reader import BagReader
from mm_nav.errors import ConfigError, WorldError
from mm_nav.geometry import Pose2D
from mm_nav.learning.collect import CollectConfig, collect_world, training_world
from mm_nav.learning.strange_inputs import image_changes, scan_changes
from mm_nav.observation import LaserScan
from mm_nav.parallel import Workers, run_jobs
from mm_nav.policy.config import PolicyConfig
from mm_nav.runtime.descriptors import scan_descriptors
from mm_nav.runtime.familiarity import DESCRIPTORS, Familiarity, image_values
from mm_nav.runtime.preprocess import Preprocessor
from mm_nav.sensing.lidar import resample
from mm_nav.sim.ground_truth import GroundTruthMap
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.splits import FIRST_HELD_OUT_SEED

Arrays = dict[str, npt.NDArray[Any]]
Floats = npt.NDArray[np.float64]

FRAMES = 15
"""So many frames of each world."""
AS_TRAINED = "as training had them"
ANYWHERE = "any place, any direction"
# Changes to how training frames are collected; ANYWHERE is without its choice of places, seen by the robot's own camera.
KINDS: Mapping[str, Mapping[str, float]] = {
    AS_TRAINED: {},
    "textured": {"textured": 1.0},
    "showrooms": {"showrooms": 1.0},
    "warehouses, mazes, store rooms": {"extra_styles": 1.0, "showrooms": 0.0},
    ANYWHERE: {},
}
# Bundled with scikit-image; nothing is fetched.
_PHOTOGRAPHS = ("astronaut.png", "coffee.png", "rocket.jpg", "chelsea.png", "motorcycle_left.png")
_CUTS = 30  # of each photograph


@dataclass(frozen=True)
class Row:
    """What was found of one kind of frames. auroc: how surely a frame of this kind has a higher score than one of worlds that were
    not trained on: 0.5 = not at all, 1 = always. above: share of scores above 1. why: what is said of most of those."""

    sensor: str
    kind: str
    frames: int
    auroc: float
    above: float
    median: float
    why: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def check_familiarity(
    familiarity: Familiarity,
    worlds: int,
    bags: Sequence[Path] = (),
    workers: Workers | int | None = None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> list[Row]:
    """Return the table of scores, worlds that were not trained on first.

    worlds: so many for each of KINDS, from the first held-out seed on. bags: recordings whose scans are scored too. Raises
    ConfigError for no worlds, WorldError where nobody can stand in them, BagError for what cannot be read.
    """
    if worlds < 1:
        raise ConfigError(f"{worlds} worlds: give 1 or more")
    collected = familiarity.provenance.get("collect", {})
    jobs = [
        (kind, seed, collected, familiarity.config)
        for seed in range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + worlds)
        for kind in KINDS
    ]
    found: dict[str, list[tuple[int, Arrays]]] = {kind: [] for kind in KINDS}
    for done, (kind, seed, arrays) in enumerate(run_jobs(world_frames, jobs, workers), 1):
        if arrays:
            found[kind].append((seed, arrays))
        progress(done, len(jobs))
    # Jobs end in any order; the table must not hang on it.
    groups = {
        kind: _joined([arrays for _, arrays in sorted(parts, key=lambda p: p[0])]) for kind, parts in found.items()
    }
    if not all(groups.values()):
        raise WorldError(f"no place to look from in {worlds} worlds: give more")
    return [*_image_rows(familiarity, groups), *_scan_rows(familiarity, groups, bags)]


def world_frames(kind: str, seed: int, collected: Mapping[str, float], config: PolicyConfig) -> tuple[str, int, Arrays]:
    """Return kind, seed, and what the network is fed in a held-out world by name as in shards; nothing where nobody can stand.

    kind: of KINDS. collected: settings of CollectConfig, as the training frames were collected.
    """
    names = ("image", "rays", "ranges", "ranges_valid")
    how = CollectConfig(**{**collected, "frames": FRAMES, **KINDS[kind]})  # type: ignore[arg-type]
    if kind != ANYWHERE:
        world = collect_world(seed, how, config)
        return kind, seed, {name: world.arrays[name] for name in names} if world is not None else {}
    scene = Scene(training_world(seed, how)[1])
    simulator, preprocess = Simulator(scene, SimConfig(), seed=seed), Preprocessor(config)
    truth, rng = (
        GroundTruthMap(scene, SimConfig().robot, resolution=how.resolution_m),
        np.random.default_rng([seed, 47]),
    )
    cells = np.argwhere(truth.largest_part())
    rows: list[tuple[Any, ...]] = []
    for x, y in truth.cell_to_world(cells[rng.choice(len(cells), FRAMES)]).tolist() if len(cells) else ():
        simulator.reset(Pose2D(x, y, float(rng.uniform(-np.pi, np.pi))))
        observation = simulator.observe()
        image, _, geometry = preprocess.image(observation.image)
        ranges, valid = preprocess.scan(observation.scan)
        rows.append((_bytes(image), geometry.rays, ranges[0], valid[0]))
    return kind, seed, {name: np.stack(part) for name, part in zip(names, zip(*rows, strict=True), strict=False)}


def auroc(usual: Floats, other: Floats) -> float:
    """Return how surely one of `other` is above one of `usual`; ties count half (Mann and Whitney's U over the pairs)."""
    # What differs only by the order of sums is the same.
    ranks = scipy.stats.rankdata(np.concatenate([usual, other]).round(9))
    above = float(ranks[len(usual) :].sum()) - len(other) * (len(other) + 1) / 2.0
    return above / (len(usual) * len(other))


def _image_rows(familiarity: Familiarity, groups: Mapping[str, Arrays]) -> Iterator[Row]:
    usual = groups[AS_TRAINED]

    def score(images: Sequence[npt.NDArray[np.uint8]], rays: Sequence[npt.NDArray[np.float32]]) -> _Scored:
        pairs = zip(images, rays, strict=True)
        return _Scored.of(familiarity, "image", [image_values(rgb, ray, familiarity.config) for rgb, ray in pairs])

    base = score(list(usual["image"]), list(usual["rays"]))
    for name, arrays in groups.items():
        yield score(list(arrays["image"]), list(arrays["rays"])).row(f"held-out worlds, {name}", base)
    for index, (name, change) in enumerate(image_changes().items()):
        rng = np.random.default_rng(index)
        yield score([change(rgb, rng) for rgb in usual["image"]], list(usual["rays"])).row(name, base)
    photographs = _photographs(familiarity.config)
    if photographs:
        rays = [usual["rays"][k % len(usual["rays"])] for k in range(len(photographs))]
        yield score(photographs, rays).row("photographs", base)


def _scan_rows(familiarity: Familiarity, groups: Mapping[str, Arrays], bags: Sequence[Path]) -> Iterator[Row]:
    config, usual = familiarity.config, groups[AS_TRAINED]

    def score(scans: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]) -> _Scored:
        return _Scored.of(familiarity, "scan", [scan_descriptors(r, v, config.max_range_m) for r, v in scans])

    def pairs(arrays: Arrays) -> list[tuple[Any, Any]]:
        return list(zip(arrays["ranges"], arrays["ranges_valid"], strict=True))

    base = score(pairs(usual))
    for name, arrays in groups.items():
        yield score(pairs(arrays)).row(f"held-out worlds, {name}", base)
    for index, (name, change) in enumerate(scan_changes().items()):
        rng = np.random.default_rng(index)
        yield score([change(r, v, rng) for r, v in pairs(usual)]).row(name, base)
    for path in bags:
        with BagReader(path) as reader:
            items = [message.item for message in reader.messages(kinds=("scan",))]
        scans = [resample(s, config.lidar_bins, config.max_range_m) for s in items if isinstance(s, LaserScan)]
        if scans:
            yield score(scans).row(f"recording {path.name}", base)


@dataclass(frozen=True)
class _Scored:
    """The scores of frames, and what is said of those above 1."""

    sensor: str
    scores: Floats
    whys: tuple[str, ...]

    @classmethod
    def of(cls, familiarity: Familiarity, sensor: str, values: Sequence[Floats]) -> _Scored:
        statistics = familiarity.image if sensor == "image" else familiarity.scan
        z = statistics.normal(np.array(values))
        scores = statistics.score(z)
        return cls(
            sensor,
            scores,
            tuple(statistics.reasons(z[k], DESCRIPTORS[sensor])[0] for k in np.flatnonzero(scores > 1.0)),
        )

    def row(self, kind: str, usual: _Scored) -> Row:
        said = Counter(self.whys).most_common(1)
        return Row(
            self.sensor,
            kind,
            len(self.scores),
            round(auroc(usual.scores, self.scores), 4),
            round(float((self.scores > 1.0).mean()), 4),
            round(float(np.median(self.scores)), 3),
            said[0][0] if said else "",
        )


def _joined(parts: Sequence[Arrays]) -> Arrays:
    whole = [part for part in parts if part]
    return {name: np.concatenate([part[name] for part in whole]) for name in whole[0]} if whole else {}


def _bytes(image: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray((image[0] * 255.0 + 0.5).astype(np.uint8).transpose(1, 2, 0))


def _photographs(config: PolicyConfig) -> list[npt.NDArray[np.uint8]]:
    """Return cuts of real photographs, as large as the network reads them; none where scikit-image brings none."""
    import skimage.data

    folder, rng, cuts = Path(skimage.data.__file__).parent, np.random.default_rng(0), []
    size = (config.image_width, config.image_height)
    for name in _PHOTOGRAPHS:
        bgr = cv2.imread(str(folder / name), cv2.IMREAD_COLOR) if (folder / name).is_file() else None
        if bgr is None:
            continue
        for _ in range(_CUTS):
            height = int(min(bgr.shape[0], bgr.shape[1] * size[1] / size[0]) * rng.uniform(0.5, 1.0))
            width = height * size[0] // size[1]
            top, left = (int(rng.integers(0, n)) for n in (bgr.shape[0] - height + 1, bgr.shape[1] - width + 1))
            cut = bgr[top : top + height, left : left + width]
            cuts.append(np.ascontiguousarray(cv2.resize(cut, size, interpolation=cv2.INTER_AREA)[..., ::-1]))
    return cuts
