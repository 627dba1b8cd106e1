"""People, robots and doors: they get about, keep out of walls and each other, are seen by every sensor, and collide."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from mm_nav.errors import ConfigError, WorldError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.sim.camera import CameraConfig
from mm_nav.sim.lidar import CloudConfig, LidarConfig
from mm_nav.sim.life import Door, LifeConfig, Walker
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.walking import WalkingMap
from mm_nav.sim.world import parse_world

QUIET = LidarConfig(beams=720, noise_std=0.0)
CAMERA = CameraConfig(96, 72)


def flat(divided: bool = False) -> Scene:
    """A room of 10 x 8 m; `divided`, with a wall at x = 0 that has a gap of 1 m in its middle."""
    boxes = [(5.1, 0, 0.2, 8.4), (-5.1, 0, 0.2, 8.4), (0, 4.1, 10, 0.2), (0, -4.1, 10, 0.2)]
    if divided:
        boxes += [(0, 2.25, 0.2, 3.5), (0, -2.25, 0.2, 3.5)]
    shapes = "".join(
        f"<collision name='c{i}'><pose>{x} {y} 1 0 0 0</pose><geometry><box><size>{sx} {sy} 2</size></box></geometry>"
        f"</collision><visual name='v{i}'><pose>{x} {y} 1 0 0 0</pose><geometry><box><size>{sx} {sy} 2</size></box>"
        "</geometry></visual>"
        for i, (x, y, sx, sy) in enumerate(boxes)
    )
    return Scene(
        parse_world(
            "<sdf version='1.8'><world name='w'><include><uri>model://ground_plane</uri></include>"
            f"<model name='walls'><static>1</static><link name='l'>{shapes}</link></model></world></sdf>"
        )
    )


def simulator(life: LifeConfig, start: Pose2D | None = None, seed: int = 0, scene: Scene | None = None) -> Simulator:
    config = SimConfig(camera=CAMERA, lidar=QUIET, cloud=CloudConfig(noise_std=0.0), life=life)
    return Simulator(scene or flat(), config, seed, start)


def person_at(x: float, y: float, **more: object) -> Walker:
    return Walker("ann", start=Pose2D(x, y, math.pi), route=((x, y),), **more)  # type: ignore[arg-type]


def test_a_person_is_seen_by_every_sensor_and_counted_behind_the_models() -> None:
    start = Pose2D(-1.0, 0.0, 0.0)
    empty, peopled = simulator(LifeConfig(), start), simulator(LifeConfig(walkers=(person_at(1.0, 0.0),)), start)
    near = (np.abs(peopled.scan().angles()) < 0.2) & (peopled.scan().ranges < 2.3)
    assert near.sum() >= 4  # two legs
    assert np.all(peopled.scan().ranges[near] > 1.6)
    assert not ((np.abs(empty.scan().angles()) < 0.2) & (empty.scan().ranges < 2.3)).any()
    seen = peopled.render()
    person = seen.model_index == len(peopled.scene.model_names)
    assert person.mean() > 0.02
    assert seen.depth[person].min() == pytest.approx(1.85 - 0.12, abs=0.2)
    assert not np.array_equal(seen.rgb[person], empty.render().rgb[person])
    points = peopled.cloud().points
    assert np.any((np.hypot(points[:, 0] - 2.0, points[:, 1]) < 0.4) & (points[:, 2] > 0.2))


def test_somebody_behind_a_wall_is_not_seen() -> None:
    scene = flat(divided=True)
    sim = simulator(LifeConfig(walkers=(person_at(2.0, 2.0),)), Pose2D(-2.0, 2.0, 0.0), scene=scene)
    assert not np.any(sim.render().model_index >= len(scene.model_names))
    assert sim.scan().ranges[360] == pytest.approx(1.9, abs=1e-3)


def test_people_cast_shadows() -> None:
    life = LifeConfig(walkers=(person_at(1.5, 0.0),))
    config = SimConfig(camera=CameraConfig(96, 72, shadows=True), lidar=None, life=life)
    peopled, empty = Simulator(flat(), config), Simulator(flat(), SimConfig(camera=config.camera, lidar=None))
    a, b = peopled.render(), empty.render()
    floor = (a.model_index == -1) & (b.model_index == -1)
    assert np.mean(np.abs(a.rgb[floor].astype(int) - b.rgb[floor]).max(axis=1) > 20) > 0.01


def test_driving_into_a_standing_person_is_a_collision() -> None:
    sim = simulator(LifeConfig(walkers=(person_at(1.0, 0.0, reacts=False),)), Pose2D(-1.0, 0.0, 0.0))
    for _ in range(60):
        sim.step(Twist2D(0.8, 0.0), 0.1)
    assert sim.collisions == 1 and sim.collision_with == "ann"
    assert sim.pose.x + 0.18 == pytest.approx(0.75, abs=0.03)


def test_being_walked_into_while_standing_is_none() -> None:
    walker = Walker("bob", start=Pose2D(3.0, 0.0, 0.0), route=((-3.0, 0.0), (3.0, 0.0)), reacts=False)
    sim = simulator(LifeConfig(walkers=(walker,)))
    for _ in range(60):
        sim.step(Twist2D(), 0.1)
    assert sim.collisions == 0
    assert sim.life is not None and sim.life.poses()[0].x == pytest.approx(0.43, abs=0.1)  # stopped before the robot


def test_reacting_people_walk_around_the_robot() -> None:
    walker = Walker("eve", start=Pose2D(3.0, 0.05, math.pi), route=((-3.0, 0.0), (3.0, 0.0)))
    sim = simulator(LifeConfig(walkers=(walker,)))
    closest, arrived = np.inf, False
    for _ in range(150):
        sim.step(Twist2D(), 0.1)
        assert sim.life is not None
        pose = sim.life.poses()[0]
        closest = min(closest, math.hypot(pose.x, pose.y))
        arrived |= pose.x < -2.4
    assert arrived and sim.collisions == 0
    assert 0.4 < closest < 1.5


def test_crowds_stay_out_of_walls_and_out_of_each_other() -> None:
    scene = flat(divided=True)
    sim = simulator(LifeConfig(people=8, robots=2), Pose2D(-3.0, 3.0, 0.0), seed=4, scene=scene)
    assert sim.life is not None
    places = []
    for _ in range(300):
        sim.step(Twist2D(), 0.1)
        places.append([(pose.x, pose.y) for pose in sim.life.poses()])
    track = np.array(places)
    assert np.abs(track[..., 0]).max() < 5.0 - 0.1 and np.abs(track[..., 1]).max() < 4.0 - 0.1
    inside_wall = (np.abs(track[..., 0]) < 0.1) & (np.abs(track[..., 1]) > 0.5)
    assert not inside_wall.any()
    apart = np.linalg.norm(track[:, :, None] - track[:, None], axis=-1) + 9.0 * np.eye(10)
    assert apart.min() > 0.4
    walked = np.linalg.norm(np.diff(track, axis=0), axis=-1).sum(axis=0)
    assert np.median(walked) > 5.0  # in half a minute
    assert (track[..., 0].min(axis=0) < -0.5).any() and (track[..., 0].max(axis=0) > 0.5).any()
    crossed = (track[..., 0] < -0.3).any(axis=0) & (track[..., 0] > 0.3).any(axis=0)
    assert crossed.sum() >= 2  # through the gap


def drive(seed: int, life: LifeConfig) -> bytes:
    sim = simulator(life, Pose2D(-2.0, 0.0, 0.0), seed)
    record = b""
    for i in range(15):
        sim.step(Twist2D(0.3, 0.2 * (-1) ** i), 0.1)
        image = sim.image()
        record += sim.scan().ranges.tobytes() + image.rgb.tobytes() + sim.cloud().points.tobytes()
    return record


def test_same_seed_same_life() -> None:
    life = LifeConfig(people=2, robots=1, doors=(Door("d", (0.0, 0.5), opens="cycle", period_s=2.0),))
    assert drive(3, life) == drive(3, life)
    assert drive(3, life) != drive(4, life)
    sim = simulator(life, Pose2D(-2.0, 0.0, 0.0), 3)
    assert sim.life is not None
    sim.step(Twist2D(0.5, 0.0), 3.0)
    sim.reset(Pose2D(-2.0, 0.0, 0.0), 3)
    fresh = simulator(life, Pose2D(-2.0, 0.0, 0.0), 3)
    assert fresh.life is not None and sim.life is not None and sim.life.poses() == fresh.life.poses()


def test_people_do_not_change_the_noise_of_the_sensors() -> None:
    noisy = SimConfig(camera=None, lidar=LidarConfig(beams=8, noise_std=0.1, range_max=50.0))
    far = LifeConfig(walkers=(person_at(3.0, 3.0),))
    peopled = replace(noisy, life=far)
    scans = [Simulator(flat(), config, seed=2).scan().ranges for config in (noisy, peopled)]
    assert np.sum(scans[0] == scans[1]) >= 7


DOOR = Door("door", hinge=(0.0, 0.45), closed_yaw=-math.pi / 2, width=0.9, reach_m=1.5)


def test_a_closed_door_blocks_and_opens_for_the_robot() -> None:
    scene = flat(divided=True)
    closed = Door("door", (0.0, 0.45), -math.pi / 2, opens="cycle", period_s=1000.0)
    sim = simulator(LifeConfig(doors=(closed,)), Pose2D(-1.5, 0.0, 0.0), scene=scene)
    assert sim.scan().ranges[360] == pytest.approx(1.5 - 0.02, abs=1e-3)
    for _ in range(40):
        sim.step(Twist2D(0.8, 0.0), 0.1)
    assert sim.collision_with == "door" and sim.pose.x < -0.15
    polite = simulator(LifeConfig(doors=(DOOR,)), Pose2D(-1.3, 0.0, 0.0), scene=scene)
    polite.step(Twist2D(), 2.0)
    for _ in range(40):
        polite.step(Twist2D(0.5, 0.0), 0.1)
    assert polite.collisions == 0 and polite.pose.x > 0.5


def test_a_door_does_not_close_on_the_robot() -> None:
    cycle = Door("door", (0.0, 0.45), -math.pi / 2, opens="cycle", period_s=4.0)
    sim = simulator(LifeConfig(doors=(cycle,)), Pose2D(-3.0, 0.0, 0.0), scene=flat(divided=True))
    assert sim.life is not None
    sim.step(Twist2D(), 3.9)  # open now
    assert abs(sim.life.poses()[-1].yaw + math.pi / 2) > 1.4
    sim.pose = Pose2D(0.0, 0.0, 0.0)
    for _ in range(30):
        sim.step(Twist2D(), 0.1)
        assert sim.life.touching(sim.pose.transform(sim.config.robot.footprint_array())) is None
    assert sim.collisions == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Walker("w", kind="dog"),
        lambda: Walker("w", speed=0.0),
        lambda: Door("d", (0.0, 0.0), opens="never"),
        lambda: Door("d", (0.0, 0.0), width=0.0),
        lambda: LifeConfig(people=-1),
    ],
)
def test_impossible_lives_are_refused(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]


def test_a_world_without_room_for_people_says_so() -> None:
    places = WalkingMap(flat())
    places.truth.traversable[:] = False
    with pytest.raises(WorldError, match="nobody can stand"):
        places.free_cells()
