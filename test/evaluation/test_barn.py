"""BARN's worlds are read as others wrote them, driven by its protocol, and scored by its formula."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mm_nav.command import Command, Stage
from mm_nav.errors import ConfigError, WorldError
from mm_nav.evaluation import barn
from mm_nav.evaluation.barn import BarnConfig, BarnResult, read_runs, run_barn, run_worlds, summarise_barn
from mm_nav.evaluation.barn_report import write_barn_report
from mm_nav.evaluation.barn_worlds import GOAL, START, BarnWorld, load_barn
from mm_nav.geometry import Twist2D

CELLS = np.array([[17, 0], [17, 15], [17, 29]])
CYLINDERS = np.array([[-2.0, 7.0], [-3.2, 8.5], [-0.8, 8.5]], np.float32)
RESULT = BarnResult(1, 0, "reached", 12.0, 5.0, 9.5, 5.0, 20.0, 1, "", "", ((-2.0, 3.0), (-2.0, 12.0)))


@pytest.fixture
def world(tmp_path: Path) -> BarnWorld:
    np.savez(tmp_path / "barn.npz", cyl_7=CYLINDERS, path_7=CELLS)
    return load_barn(tmp_path / "barn.npz")[0]


def test_a_world_of_arrays_has_its_cylinders_and_its_path_in_metres(world: BarnWorld) -> None:
    assert world.number == 7 and not world.official
    np.testing.assert_allclose(world.path[[0, 1, -1]], [(-2.0, 3.0), (-2.025, 5.075), (-2.0, 13.0)])
    assert world.optimal_time_s == pytest.approx(5.0, abs=0.01)
    models = [model for model in world.world().models if not model.is_plane]
    np.testing.assert_allclose([model.bounds().mean(axis=0)[:2] for model in models], CYLINDERS, atol=1e-3)
    assert models[0].bounds()[1][2] == pytest.approx(1.0)


def test_a_world_of_files_is_the_same(world: BarnWorld, tmp_path: Path) -> None:
    shape = "<geometry><cylinder><radius>0.075</radius><length>1</length></cylinder></geometry>"
    models = "".join(
        f'<model name="c{k}"><static>1</static><pose>{x} {y} 0 0 0 0</pose><link name="l"><collision name="c">{shape}</collision>'
        f'<visual name="v">{shape}</visual></link></model>'
        for k, (x, y) in enumerate(CYLINDERS)
    )
    folder = tmp_path / "worlds"
    folder.mkdir()
    (folder / "world_7.world").write_text(f"<sdf version='1.6'><world name='default'>{models}</world></sdf>")
    np.save(folder / "path_7.npy", CELLS)
    for path in (folder, folder / "world_7.world"):
        (found,) = load_barn(path)
        assert found.number == 7 and found.file is not None
        np.testing.assert_allclose(found.path, world.path)
        np.testing.assert_allclose(found.cylinders, world.cylinders, atol=1e-3)


@pytest.mark.parametrize(
    "broken", ["missing", "no npz", "other arrays", "no path", "nan", "empty folder", "broken sdf"]
)
def test_what_is_no_world_is_refused_with_what_would_be_one(broken: str, tmp_path: Path) -> None:
    path = tmp_path / "barn.npz"
    if broken == "no npz":
        path.write_bytes(b"nothing of the kind")
    elif broken == "other arrays":
        np.savez(path, points=CYLINDERS)
    elif broken == "no path":
        np.savez(path, cyl_1=CYLINDERS)
    elif broken == "nan":
        np.savez(path, cyl_1=CYLINDERS * np.nan, path_1=CELLS)
    elif broken == "empty folder":
        path = tmp_path
    elif broken == "broken sdf":
        path = tmp_path / "world_3.world"
        path.write_text("<sdf><world>")
        np.save(tmp_path / "path_3.npy", CELLS)
    with pytest.raises(WorldError, match=str(path)):
        load_barn(path)


@pytest.mark.parametrize(
    ("time_s", "score", "slow"),
    [(5.0, 0.5, 0.25), (10.0, 0.5, 0.25), (12.5, 0.4, 0.25), (25.0, 0.2, 0.2), (90.0, 0.125, 0.125)],
)
def test_the_score_is_the_benchmarks(time_s: float, score: float, slow: float) -> None:
    result = replace(RESULT, time_s=time_s)
    assert result.score() == pytest.approx(score) and result.score(4.0) == pytest.approx(slow)
    assert replace(result, ending="contact").score() == 0.0


@pytest.mark.parametrize("planner", ["mm_nav", "mm_nav_policy", "dwa", "pure_pursuit"])
def test_every_planner_gets_round_a_few_cylinders(planner: str, world: BarnWorld) -> None:
    result = run_barn(world, 0, BarnConfig(planner=planner, guard=planner.startswith("mm_nav")))
    assert result.ending == "reached", result
    assert 8.5 < result.path_length_m < 12.0 and result.path[0] == (START.x, START.y)
    assert np.hypot(result.path[-1][0] - GOAL.x, result.path[-1][1] - GOAL.y) < 1.05


def test_with_more_delay_and_slipping_odometry_it_still_arrives(world: BarnWorld) -> None:
    result = run_barn(world, 0, BarnConfig(delay_s=0.2, odometry="wheels"))
    assert result.ending == "reached" and result.score() == 0.5


def test_a_world_is_harder_with_less_room_beside_its_path(world: BarnWorld) -> None:
    cells = world.path[1:-1]
    apart = [min(np.hypot(*(cell - cylinder)) for cylinder in world.cylinders) for cell in cells]
    assert world.clearance_m == pytest.approx(np.mean(apart) - 0.075)
    assert replace(world, cylinders=np.empty((0, 2))).clearance_m == np.inf


def test_a_contact_ends_the_run(monkeypatch: pytest.MonkeyPatch, world: BarnWorld) -> None:
    class Blind:
        def __init__(self, robot: object) -> None:
            pass

        def set_goal(self, goal: object) -> None:
            pass

        def step(self, observation: object) -> Command:
            return Command(0, Twist2D(2.0), Stage.FOLLOWING)

    monkeypatch.setitem(barn.PLANNERS, "mm_nav", Blind)
    result = run_barn(world, 0, BarnConfig(guard=False))
    assert result.ending == "contact" and result.contact_with == "cylinder_0" and result.score() == 0.0
    guarded = run_barn(world, 0, BarnConfig())
    assert guarded.ending == "timeout" and guarded.guard_steps > 100


def test_a_run_goes_on_where_it_was_cut_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, world: BarnWorld) -> None:
    driven: list[tuple[int, int]] = []

    def drive(world: BarnWorld, run: int, config: BarnConfig) -> BarnResult:
        driven.append((world.number, run))
        return replace(RESULT, world=world.number, run=run)

    monkeypatch.setattr(barn, "run_barn", drive)
    log = tmp_path / "runs.jsonl"
    worlds = (world, replace(world, number=8))
    run_worlds(worlds, BarnConfig(runs=1), 1, log)
    log.write_text(log.read_text() + '{"world": 8, "ru')
    results = run_worlds(worlds, BarnConfig(runs=2), 1, log, resume=True)
    assert driven == [(7, 0), (8, 0), (7, 1), (8, 1)] and [(r.world, r.run) for r in results] == sorted(driven)
    with pytest.raises(ConfigError, match="other settings"):
        run_worlds(worlds, BarnConfig(planner="dwa"), 1, log, resume=True)
    log.write_text("{}\nno json\n")
    with pytest.raises(ConfigError, match="without --resume"):
        run_worlds(worlds, BarnConfig(), 1, log, resume=True)


def test_summary_and_page(tmp_path: Path, world: BarnWorld) -> None:
    results = [
        replace(RESULT, world=7, run=k, ending=ending)
        for k, ending in enumerate(("reached", "contact", "timeout", "gave up"))
    ]
    summary = summarise_barn(results, BarnConfig())
    assert summary["success_rate"] == 0.25 and summary["contacts"] == 1 and summary["timeout_rate"] == 0.25
    assert summary["score"] == pytest.approx(5.0 / 12.0 / 4) and summary["mean_time_s"] == 12.0
    assert summary["plan_hz"] == pytest.approx(200.0) and json.dumps(summary)
    page = write_barn_report(tmp_path / "report", (world,), results, summary)
    assert "| 7 | 1 of 4 |" in page.read_text() and "difficulty.png" in page.read_text()
    assert (page.parent / "difficulty.png").stat().st_size > 5000
    assert len(list(page.parent.glob("world_7_run_*.png"))) == 3


def test_runs_of_another_planner_are_drawn_beside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, world: BarnWorld
) -> None:
    monkeypatch.setattr(barn, "run_barn", lambda world, run, config: replace(RESULT, world=world.number, run=run))
    log = tmp_path / "dwa.jsonl"
    run_worlds((world,), BarnConfig(planner="dwa", runs=2, guard=False), 1, log)
    name, results = read_runs(log)
    assert name == "dwa" and [(r.world, r.run) for r in results] == [(7, 0), (7, 1)]
    page = write_barn_report(tmp_path / "r", (world,), results, summarise_barn(results, BarnConfig()), {name: results})
    assert (page.parent / "difficulty.png").exists()
    for broken in ("", "{}\n", "no json\n", '{"planner": "dwa"}\n{"world": 7}\n'):
        log.write_text(broken)
        with pytest.raises(ConfigError, match="--json file"):
            read_runs(log)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"planner": "rrt"}, "pure_pursuit"),
        ({"runs": 0}, "--runs"),
        ({"delay_s": 2.0}, "--delay"),
        ({"odometry": "gps"}, "--odometry"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        BarnConfig(**settings)  # type: ignore[arg-type]
