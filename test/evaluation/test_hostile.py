"""Hostile drivers behind the guard: they touch nothing; with a wrong constant in the guard they do."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mm_nav.cli.main import main
from mm_nav.errors import ConfigError
from mm_nav.evaluation.hostile import DRIVERS, HostileConfig, run_hostile, run_hostile_world, summarise_hostile
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.safety import guard as guard_module
from mm_nav.safety import sweep
from mm_nav.safety.guard import Guard, GuardConfig
from mm_nav.safety.track import Track
from mm_nav.sensing.movers import Movers, MoverTracker

ROBOTS = HostileConfig("generic"), HostileConfig("jackal")


@pytest.mark.parametrize("robot", ["generic", "jackal"])
def test_nothing_is_touched(robot: str) -> None:
    config = HostileConfig(robot, worlds=2, steps=1000)
    results = [run_hostile_world(seed, config) for seed in range(config.worlds)]
    summary = summarise_hostile(results, config)
    assert summary["contacts"] == 0 and summary["steps"] == 2000
    # Not by standing still.
    assert summary["distance_m"] > 15.0 and 0.1 < summary["limited_share"] < 0.9


def test_the_same_seed_drives_the_same() -> None:
    config = HostileConfig(steps=100)
    one, other = (run_hostile_world(7, config) for _ in range(2))
    assert replace(one, guard_ms=0.0) == replace(other, guard_ms=0.0)


def _wrong_brakes(patch: pytest.MonkeyPatch) -> None:
    real = sweep._ramp
    patch.setattr(
        sweep, "_ramp", lambda start, target, limit, after, shares: real(start, target, limit, after, 2.5 * shares)
    )


def _changed_ways(**changes: Callable[..., object]) -> Callable[[pytest.MonkeyPatch], None]:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        real = sweep.stopping_ways

        def wrong(wanted, now, pending, robot, reaction_s, braking_share):  # type: ignore[no-untyped-def]
            given = {"wanted": wanted, "now": now, "pending": pending, "reaction_s": reaction_s}
            given |= {name: change(given[name]) for name, change in changes.items()}
            return real(robot=robot, braking_share=braking_share, **given)

        patch.setattr(guard_module, "stopping_ways", wrong)

    return mutate


def _no_age(patch: pytest.MonkeyPatch) -> None:
    def newest(track: Track, stamp_ns: int) -> Pose2D:
        return track._kept[-1].pose

    patch.setattr(Track, "at", newest)


def _nothing_pending(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Guard, "_pending", lambda guard, now_ns, issued: [])


@pytest.mark.parametrize(
    "mutate",
    [
        pytest.param(_wrong_brakes, id="brakes 2.5 times as strong"),
        pytest.param(_changed_ways(reaction_s=lambda s: 0.5 * s), id="half the reaction time"),
        pytest.param(_changed_ways(now=lambda twist: Twist2D()), id="present speed ignored"),
        pytest.param(_changed_ways(wanted=lambda twists: twists * [1.0, 0.0]), id="turning ignored"),
        pytest.param(_no_age, id="age of the scan ignored"),
        pytest.param(_nothing_pending, id="delayed commands forgotten"),
    ],
)
def test_a_wrong_guard_is_noticed(
    mutate: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch)
    # Discs around what seems to move come on top of what is promised, and may hide what is wrong with that.
    monkeypatch.setattr(MoverTracker, "update", lambda tracker, scan, pose: Movers())
    assert any(run_hostile_world(seed, config).contacts for seed in range(3) for config in ROBOTS)


def test_a_run_goes_on_from_its_log(tmp_path: Path) -> None:
    log, config = tmp_path / "log.jsonl", HostileConfig(worlds=1, steps=50)
    (first,) = run_hostile(config, 1, log)
    with log.open("a") as file:
        file.write('{"seed": 1, "st')
    both = run_hostile(replace(config, worlds=2), 1, log, resume=True)
    assert both[0] == first and [r.seed for r in both] == [0, 1] and len(log.read_text().splitlines()) == 3
    with pytest.raises(ConfigError, match="other settings"):
        run_hostile(replace(config, guard=GuardConfig(margin_m=0.1)), 1, log, resume=True)
    log.write_text(log.read_text().replace('"steps": 50, "limited"', '"paces": 50, "limited"'))
    with pytest.raises(ConfigError, match="cannot be read"):
        run_hostile(config, 1, log, resume=True)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 worlds"):
        HostileConfig(worlds=0)
    with pytest.raises(ConfigError, match="omni"):
        HostileConfig("omni").simulation()
    with pytest.raises(ConfigError, match="not known"):
        HostileConfig("tank").simulation()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "guard.json"
    assert main(["evaluate", "guard", "--steps", "1", "--workers", "1", "--json", str(file)]) == 0
    data = json.loads(file.read_text())
    assert data["contacts"] == 0 and data["steps"] == 1000 and all(f"contacts_{name}" in data for name in DRIVERS)
    assert "0 contacts in 1000 steps" in capsys.readouterr().out
