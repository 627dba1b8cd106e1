"""Training batches: frames that remember one another, each paired with several phrases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from mm_nav.language.encoder import TextEncoder
from mm_nav.learning.ahead import made_ahead
from mm_nav.learning.dataset import Floats, FrameDataset
from mm_nav.learning.hindsight import driven_goals, is_earlier
from mm_nav.learning.labels import (
    COLOURS,
    KINDS,
    NUMBERS,
    cell_ranges,
    draw_strange,
    min_pixels,
    mirror_rays,
    pictures,
    semantics,
)
from mm_nav.learning.phrases import PhraseBank
from mm_nav.policy.backbones import Features
from mm_nav.policy.losses import PolicyTargets
from mm_nav.policy.model import Links, PolicyInputs

ARRIVED_M = 0.9
_SCATTER_M = 3.0  # of the frames that remember one another
_GOAL_SHARE = 0.6  # of frames that are given a picture as a goal
_GOAL_PIXELS = 0.06  # of a picture's middle that shows what it is the picture of
_STRANGE = 0.2  # of the pictures, those whose colours are changed beyond their names
_ASKED_SHARE = 0.7  # of the phrases that a driving policy was asked, those that are asked again


class Batch(NamedTuple):
    """One training batch. links: which of its frames are remembered, and which are goals. frozen: what a frozen backbone made
    of the pictures."""

    inputs: PolicyInputs
    targets: PolicyTargets
    links: Links
    frozen: Features | None = None


class Choice(NamedTuple):
    """What is asked of one frame. phrase: "" = no words. objects: numbers (from 0) of the objects that satisfy it. goal: the
    frame of the batch whose picture is the goal, -1 = none."""

    phrase: str
    objects: tuple[int, ...]
    goal: int = -1


class _Goal(NamedTuple):
    """What the picture of a frame of the batch shows."""

    frame: int
    category: str
    colour: str


class BatchSampler:
    """Draws batches of groups: frames of one world that lie near one another and remember one another.

    Each frame is paired with phrases for what is in view, near misses, things that are elsewhere, and pictures of things.
    Frames of a recorded drive remember earlier ones, and are paired with where the robot was later, as poses and pictures; no
    words and nothing that the camera shows are taught with them.
    batch: frames. phrases: per frame (G). seed: the whole order follows from it. augment: mirror, brightness, colour noise
    and modality dropout. part: (index, count), this worker's share of each batch when several train together.
    """

    def __init__(
        self,
        dataset: FrameDataset,
        encoder: TextEncoder,
        batch: int = 64,
        phrases: int = 8,
        seed: int = 0,
        augment: bool = True,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.dataset, self.phrases, self.augment = dataset, phrases, augment
        self._encoder, self._part = encoder, part
        self._order_rng = np.random.default_rng([seed, 10])
        self._rng = np.random.default_rng([seed, 11, part[0]])
        self._bank = PhraseBank()
        c = dataset.config
        self._min_pixels = min_pixels(c)
        self.group = c.memory_frames + 1
        self.batch = max(1, batch // self.group) * self.group
        rows = np.arange(c.image_height) // (c.image_height // c.grid_rows)
        columns = np.arange(c.image_width) // (c.image_width // c.grid_columns)
        self._cell_of = (rows[:, None] * c.grid_columns + columns).astype(np.int64) * NUMBERS

    def epoch(self) -> Iterator[Batch]:
        """Yield batches over all frames once, in random order; a world's last few frames may be left out."""
        groups = self._groups()
        index, count = self._part
        # Every worker gets as many groups as the others.
        per_batch = max(count, min(self.batch // self.group, len(groups)) // count * count)
        parts = [
            groups[first + index : first + per_batch : count].ravel()
            for first in range(0, len(groups) - per_batch + 1, per_batch)
        ]
        yield from made_ahead(self._make, parts)

    def _groups(self) -> npt.NDArray[np.int64]:
        """Return all frames in groups (count, group), shuffled; the frames of a group are neighbours in one world."""
        rng, pose, along = self._order_rng, self.dataset.arrays["pose"], self.dataset.arrays["along"]
        order = np.argsort(self.dataset.arrays["world"], kind="stable")
        bounds = np.flatnonzero(np.diff(self.dataset.arrays["world"][order])) + 1
        groups: list[npt.NDArray[np.int64]] = []
        for frames in np.split(order, bounds):
            left = rng.permutation(frames)
            while len(left) >= self.group:
                if left[0] < self.dataset.labelled:
                    away = np.hypot(*(pose[left[1:], :2] - pose[left[0], :2]).T)
                else:
                    # Along the way: odometry drifts, so what it says of where the robot was long ago is not true any more.
                    away = np.abs(along[left[1:]] - along[left[0]])
                away = away + rng.uniform(0.0, _SCATTER_M, len(left) - 1)
                near = 1 + np.argsort(away, kind="stable")[: self.group - 1]
                groups.append(np.concatenate([left[:1], left[near]]))
                left = np.delete(left, [0, *near])
        return np.stack(groups)[rng.permutation(len(groups))] if groups else np.empty((0, self.group), np.int64)

    # Phrases

    def _choices(
        self, frame: int, counts: npt.NDArray[np.int64], goals: Sequence[_Goal], strange: bool
    ) -> list[Choice]:
        """Return G phrases for a frame; counts: (objects + 1,) pixels of each object number. goals: pictures to choose from.
        strange: its colours have no names."""
        rng, bank = self._rng, self._bank
        objects = self.dataset.objects[self.dataset.arrays["world"][frame]]
        if strange:
            goals, objects = (), [{**item, "colour": ""} for item in objects]
        visible = [i for i in range(len(objects)) if counts[i + 1] >= self._min_pixels]
        asked = [
            (KINDS[kind] if kind >= 0 else "", COLOURS[colour] if colour >= 0 and not strange else "")
            for kind, colour in self.dataset.arrays["asked"][frame]
            if max(kind, -1 if strange else colour) >= 0
        ]
        choices = []
        for slot in range(self.phrases):
            kind = rng.random()
            if goals and slot == self.phrases - 1 and kind < _GOAL_SHARE:
                goal = goals[int(rng.integers(len(goals)))]
                shown = self._choice(("", goal.colour, goal.category), objects)
                choices.append(Choice("", shown.objects, goal.frame))
            elif slot < len(asked) and rng.random() < _ASKED_SHARE:
                choices.append(self._choice(bank.phrase(rng, *asked[slot]), objects))
            elif kind < 0.04:
                choices.append(Choice("", ()))
            elif visible and slot % 2 == 0:
                item = objects[visible[rng.integers(len(visible))]]
                choices.append(self._choice(bank.describe(rng, item), objects))
            elif visible and kind < 0.75:
                # A near miss: something in view, with one attribute swapped.
                item = objects[visible[rng.integers(len(visible))]]
                in_view = [objects[i] for i in visible]
                choices.append(self._choice(bank.near_miss(rng, item, in_view), objects))
            elif objects and kind < 0.9:
                choices.append(self._choice(bank.describe(rng, objects[rng.integers(len(objects))]), objects))
            else:
                choices.append(self._choice(bank.anything(rng, colours=not strange), objects))
        return choices

    def _goals(self, frames: npt.NDArray[np.int64], present: Floats) -> list[_Goal]:
        """Return what each frame's picture shows large in its middle, as goals for the others."""
        c = self.dataset.config
        middle = self.dataset.arrays["numbers"][frames][:, :, round(0.3 * c.image_width) : round(0.7 * c.image_width)]
        goals = []
        for f, frame in enumerate(frames):
            counts = np.bincount(middle[f].ravel(), minlength=NUMBERS)
            number = 1 + int(counts[1:].argmax())
            if present[f] > 0 and counts[number] >= _GOAL_PIXELS * middle[f].size:
                item = self.dataset.objects[self.dataset.arrays["world"][frame]][number - 1]
                goals.append(_Goal(f, item["category"], item["colour"]))
        return goals

    def _choice(self, drawn: tuple[str, str, str], objects: list[dict[str, Any]]) -> Choice:
        phrase, colour, category = drawn
        found = tuple(
            i
            for i, item in enumerate(objects)
            if (not colour or item["colour"] == colour) and (not category or item["category"] == category)
        )
        return Choice(phrase, found)

    # Batches

    def _make(self, frames: npt.NDArray[np.int64]) -> Batch:
        a, c, rng, g = self.dataset.arrays, self.dataset.config, self._rng, self.phrases
        n, grid = len(frames) * g, (c.grid_rows, c.grid_columns)
        numbers = a["numbers"][frames]
        area = c.image_height * c.image_width / (c.grid_rows * c.grid_columns)
        cells = np.zeros((n, *grid), np.float32)
        visible, arrived = np.zeros(n, np.float32), np.zeros(n, np.float32)
        has_path, has_grounding = np.zeros(n, np.float32), np.zeros(n, np.float32)
        waypoints = np.zeros((n, c.steps, 2), np.float32)
        pose, goal_frame = np.zeros((n, 3), np.float32), np.full(n, -1)
        phrases: list[str] = []
        ranges, valid = a["ranges"][frames].astype(np.float32), a["ranges_valid"][frames].astype(np.float32)
        present = a["image_present"][frames].astype(np.float32)[:, None]
        of_world = frames < self.dataset.labelled
        if self.augment:
            self._drop_out(present, ranges, valid)
        strange = draw_strange(self.dataset, len(frames), _STRANGE if self.augment else 0.0, rng)
        goals = self._goals(frames, present[:, 0] * ~strange)
        for f, frame in enumerate(frames):
            if not of_world[f]:
                phrases += [""] * g
                mates = range(f - f % self.group, f - f % self.group + self.group)
                later = [(j, int(frames[j])) for j in mates if frames[j] > frame and present[j] > 0]
                for k, driven in enumerate(driven_goals(self.dataset, int(frame), later, g, rng), f * g):
                    waypoints[k], has_path[k], goal_frame[k] = driven.waypoints, 1.0, driven.picture
                    if driven.place is not None:
                        pose[k] = (1.0, *driven.place)
                continue
            # Pixels of each object in each cell: every phrase's mask is a sum of these.
            shares = np.bincount((self._cell_of + numbers[f]).ravel(), minlength=self._cell_count)
            shares = shares.reshape(-1, NUMBERS)
            counts = shares.sum(axis=0)
            group = f // self.group
            # Mostly a picture from the same world; one from another shows what is seldom here.
            own = [goal for goal in goals if goal.frame // self.group == group and goal.frame != f]
            near = own if own and rng.random() < 0.7 else goals
            for s, choice in enumerate(self._choices(int(frame), counts, near, bool(strange[f]))):
                k = f * g + s
                phrases.append(choice.phrase)
                wanted = list(choice.objects)
                goal_frame[k] = choice.goal
                if not choice.phrase and choice.goal < 0:
                    if rng.random() < 0.7 and np.isfinite(a["cost"][frame]).any():
                        # A pose goal instead of words: where some object stands.
                        wanted = [int(rng.choice(np.flatnonzero(np.isfinite(a["cost"][frame]))))]
                        pose[k] = self._pose_of(frame, wanted[0])
                else:
                    of_target = [i + 1 for i in wanted]
                    pixels = int(counts[of_target].sum())
                    has_grounding[k] = float(pixels == 0 or pixels >= self._min_pixels)
                    if pixels >= self._min_pixels:
                        visible[k] = 1.0
                        cells[k] = (shares[:, of_target].sum(axis=1) / area).reshape(grid)
                        arrived[k] = float(min(a["surface"][frame][i] for i in wanted) <= ARRIVED_M)
                reachable = [i for i in wanted if np.isfinite(a["cost"][frame][i])]
                if reachable:
                    nearest = min(reachable, key=lambda i: float(a["cost"][frame][i]))
                    waypoints[k] = a["paths"][frame][nearest]
                    has_path[k] = 1.0
        kind, colour = semantics(self.dataset, frames)
        colour[strange] = -1
        log_range = cell_ranges(a["planar"][frames], c)
        rays = a["rays"][frames].copy()
        memory, memory_pose, memory_present = self._memory(frames)
        mirrored = np.zeros(len(frames), bool)
        if self.augment:
            # A group is mirrored as a whole: its frames remember one another.
            mirrored = np.repeat(rng.random(len(frames) // self.group) < 0.5, self.group)
            flip = np.flatnonzero(mirrored)
            pairs = (flip[:, None] * g + np.arange(g)).ravel()
            rays[flip] = mirror_rays(rays[flip], c)
            ranges[flip], valid[flip] = ranges[flip, ::-1], valid[flip, ::-1]
            for labels in (log_range, kind, colour):
                labels[flip] = labels[flip, :, ::-1]
            cells[pairs] = cells[pairs, :, ::-1]
            waypoints[pairs, :, 1] *= -1
            pose[pairs, 2] *= -1
            memory_pose[flip, :, 1:] *= -1
        image, frozen = pictures(self.dataset, frames, mirrored, rng if self.augment else None, strange)
        # Labels of what the camera shows: of drives there are none.
        has_image = present[:, 0] * of_world
        has_grounding *= np.repeat(has_image, g)
        kind[has_image == 0], colour[has_image == 0] = -1, -1
        language, mask = self._words(phrases)
        none = np.empty((0,), np.float32)  # notes come from the batch itself
        tensors = (
            image, present, rays, ranges, valid, none, memory_pose, memory_present, language, mask, pose, none,
            (goal_frame >= 0).astype(np.float32)[:, None],
        )  # fmt: skip
        labels_ = (
            cells, log_range, visible, arrived, waypoints, has_path, has_grounding, has_image, kind, colour,
        )  # fmt: skip
        return Batch(
            PolicyInputs(*(torch.from_numpy(np.ascontiguousarray(t)) for t in tensors)),
            PolicyTargets(*(torch.from_numpy(np.ascontiguousarray(t)) for t in labels_)),
            Links(torch.from_numpy(memory), torch.from_numpy(np.maximum(goal_frame, 0))),
            frozen,
        )

    def _memory(self, frames: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
        """Return which frames each one remembers (B, K), their poses in its base_link (B, K, 3), and present (B, K)."""
        rng, size = self._rng, self.group
        others = np.array([[j for j in range(size) if j != i] for i in range(size)])
        memory = (np.arange(0, len(frames), size)[:, None, None] + others).reshape(len(frames), size - 1)
        memory = rng.permuted(memory, axis=1)
        pose = self.dataset.arrays["pose"][frames].astype(np.float64)
        then, now = pose[memory], pose[:, None]
        offset, cos, sin = then - now, np.cos(now[..., 2]), np.sin(now[..., 2])
        relative = np.stack(
            [
                cos * offset[..., 0] + sin * offset[..., 1],
                -sin * offset[..., 0] + cos * offset[..., 1],
                np.arctan2(np.sin(offset[..., 2]), np.cos(offset[..., 2])),
            ],
            axis=-1,
        )
        if self.augment:
            # Odometry drifts.
            relative += rng.standard_normal(relative.shape) * np.array([0.05, 0.05, 0.03])
        # Now and then nothing is remembered, as at the start of a drive, or only a part.
        share = rng.choice([0.0, 0.5, 1.0], len(frames), p=[0.3, 0.3, 0.4])
        present = (rng.random(memory.shape) < share[:, None]) & is_earlier(frames, memory, self.dataset.labelled)
        return memory, relative.astype(np.float32), present.astype(np.float32)

    @property
    def _cell_count(self) -> int:
        return self.dataset.config.grid_rows * self.dataset.config.grid_columns * NUMBERS

    def _drop_out(self, present: Floats, ranges: Floats, valid: Floats) -> None:
        """Take away cameras and (parts of) LiDARs, in place: the network learns to do without, and is told."""
        rng, bins = self._rng, self.dataset.config.lidar_bins
        for f in range(len(present)):
            drop = rng.random()
            if drop < 0.12 and not (present[f] > 0 and valid[f].any()):
                continue  # one is missing already
            if drop < 0.04:
                present[f] = 0.0
            elif drop < 0.12:
                ranges[f], valid[f] = 0.0, 0.0
            elif drop < 0.17:
                # A LiDAR that sees only forward, as many do.
                behind = np.abs(np.arange(bins) - bins / 2) > rng.uniform(0.25, 0.4) * bins
                ranges[f][behind], valid[f][behind] = 0.0, 0.0

    def _words(self, phrases: list[str]) -> tuple[Floats, Floats]:
        """Return embeddings (N, L, 384) and mask (N, L), cut to the longest of the phrases."""
        encoded = [self._encoder.encode(phrase) for phrase in phrases]
        mask = np.stack([e[1] for e in encoded])
        longest = max(int(mask.sum(axis=1).max()), 1)
        return np.stack([e[0][:longest] for e in encoded]), mask[:, :longest]

    def _pose_of(self, frame: np.int64, index: int) -> Floats:
        item = self.dataset.objects[self.dataset.arrays["world"][frame]][index]
        x, y, yaw = self.dataset.arrays["pose"][frame]
        dx, dy = item["center"][0] - x, item["center"][1] - y
        cos, sin = np.cos(yaw), np.sin(yaw)
        return np.array([1.0, cos * dx + sin * dy, -sin * dx + cos * dy], np.float32)


def channels_last(batch: Batch) -> PolicyInputs:
    """Return the inputs of a batch with its pictures laid out as convolutions read them fastest."""
    return batch.inputs._replace(image=batch.inputs.image.contiguous(memory_format=torch.channels_last))
