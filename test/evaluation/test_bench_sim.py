"""The benchmark of the simulator, and MuJoCo as a second opinion on what the same scene looks like."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mm_nav.cli.main import main
from mm_nav.errors import MmNavError, WorldError
from mm_nav.evaluation.bench_mujoco import MujocoCamera, import_mujoco
from mm_nav.evaluation.bench_sim import WORLD, alternate, bench_poses, step_once
from mm_nav.evaluation.mjcf import world_to_mjcf
from mm_nav.resources import resource_path
from mm_nav.sim.camera import CameraConfig, render
from mm_nav.sim.generator import generate_world
from mm_nav.sim.lidar import CloudConfig, cast, cloud_directions
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import load_world, parse_world

PRIMITIVES = (
    ("<box><size>1 0.6 0.8</size></box>", "2 0.5 0.6 0.2 0.3 0.4"),
    ("<cylinder><radius>0.3</radius><length>1.2</length></cylinder>", "1.5 -1.5 0.6 0.4 0 0"),
    ("<sphere><radius>0.4</radius></sphere>", "-2 1 0.7 0 0 0"),
    ("<capsule><radius>0.25</radius><length>0.7</length></capsule>", "-1.5 -1.2 0.5 0 1.2 0.3"),
    ("<ellipsoid><radii>0.5 0.3 0.2</radii></ellipsoid>", "0.2 2 0.5 0.1 0.2 0.9"),
    ("<plane><normal>0 0 1</normal><size>20 20</size></plane>", "0 0 0 0 0 0"),
)


def primitives(extra: str = "") -> str:
    models = "".join(
        f"<model name='m{i}'><static>1</static><pose>{pose}</pose><link name='l'><visual name='v'>"
        f"<geometry>{geometry}</geometry></visual></link></model>"
        for i, (geometry, pose) in enumerate(PRIMITIVES)
    )
    return f"<sdf version='1.9'><world name='w'>{models}{extra}</world></sdf>"


def mujoco_or_skip() -> Any:
    try:
        return import_mujoco()
    except MmNavError as error:
        pytest.skip(str(error))


def test_ranges_equal_mujoco_s_exact_ones() -> None:
    mujoco = mujoco_or_skip()
    world = parse_world(primitives())
    model = mujoco.MjModel.from_xml_string(world_to_mjcf(world))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    pose = np.eye(4)
    pose[:3, 3] = 0.1, 0.2, 0.6
    directions = cloud_directions(CloudConfig(rings=24, columns=400, elevation_min=-0.5, elevation_max=0.5))
    ours = cast(Scene(world), directions, pose)
    theirs = np.full(len(directions), -1.0)
    which = np.zeros(1, np.int32)
    for i, direction in enumerate(directions.astype(np.float64)):
        theirs[i] = mujoco.mj_ray(model, data, pose[:3, 3], direction, None, 1, -1, which)
    theirs[theirs < 0] = np.inf
    theirs[theirs > 10.0] = ours[theirs > 10.0]  # MuJoCo's planes have no end for rays, SDF's have
    both = np.isfinite(ours) & np.isfinite(theirs)
    # An outline may fall on either side of a ray.
    assert (np.isfinite(ours) != np.isfinite(theirs)).mean() < 2e-3
    gap = np.abs(ours[both] - theirs[both])
    assert both.sum() > 4000
    assert np.quantile(gap, 0.99) < 1e-3


def test_pictures_show_what_mujoco_s_show() -> None:
    mujoco_or_skip()
    world = load_world(resource_path(WORLD))
    scene, camera = Scene(world), CameraConfig(96, 72)
    other = MujocoCamera(world, camera)
    for pose in bench_poses(scene, 0, 4):
        view = pose @ camera.base_T_camera()
        seen = render(scene, camera, view)
        for rgb, depth in (other.one_pass(view), other.two_passes(view)):
            near = seen.depth < 50.0
            assert np.mean(np.abs(depth - seen.depth)[near] > 0.02) < 0.01
            assert np.corrcoef(rgb[near].ravel(), seen.rgb[near].ravel())[0, 1] > 0.7
    other.close()


def test_a_mesh_has_no_mujoco_primitive() -> None:
    polyline = "<polyline><point>0 0</point><point>1 0</point><point>0 1</point><height>1</height></polyline>"
    body = f"<model name='p'><link name='l'><visual name='v'><geometry>{polyline}</geometry></visual></link></model>"
    with pytest.raises(WorldError, match="no MuJoCo primitive"):
        world_to_mjcf(parse_world(primitives(body)))


def test_alternate_gives_every_way_its_turn() -> None:
    calls: list[tuple[str, int]] = []
    arguments = [np.full((1, 1), float(i)) for i in range(3)]
    ways = {name: (lambda value, name=name: calls.append((name, int(value[0, 0])))) for name in ("a", "b")}
    periods = alternate(ways, arguments, 0.0)
    assert set(periods) == {"a", "b"} and all((period > 0).all() and len(period) == 5 for period in periods.values())
    assert [name for name, _ in calls[:6]] == ["a", "b", "a", "a", "b", "b"]  # a first call each, then turns
    assert {value for _, value in calls} == {0, 1}


def test_a_full_step_moves_the_robot_and_keeps_it_free() -> None:
    made = generate_world(3, "apartment")
    simulator = Simulator(parse_world(made.sdf), SimConfig(camera=CameraConfig(32, 24)), start=made.start)
    before = simulator.pose
    for _ in range(30):
        step_once(simulator)
    assert simulator.time_ns == 3_000_000_000
    assert simulator.pose.distance_to(before) > 0.5 and simulator.collisions == 0


def test_command_writes_the_promised_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cores = os.sched_getaffinity(0)
    assert main(["bench", "sim", "--seconds", "0.005", "--json", str(tmp_path / "b.json")]) == 0
    assert os.sched_getaffinity(0) == cores
    report = json.loads((tmp_path / "b.json").read_text())
    for key in ("frames_per_s_96x72", "steps_per_s_1", "steps_per_s_2", "scan_360_per_s", "cloud_16x1024_rays_per_s"):
        assert report[key] > 0
    rendered = "mujoco_missing" not in report
    for key in (
        "ratio_mujoco_96x72",
        "ratio_mujoco_shadows_96x72",
        "ratio_mujoco_640x480",
        "ratio_mujoco_one_pass_96x72",
    ):
        assert (report[key] is not None and report[key] > 0) is rendered
    assert "640x480" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--seconds", "0"], ["--seconds", "nan"], ["--seed", "-1"]])
def test_wrong_options_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "sim", *arguments]) == 2
    assert arguments[0] in capsys.readouterr().err
