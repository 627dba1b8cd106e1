"""The Gymnasium environments: spaces, seeds, rewards and endings."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from mm_nav.errors import ConfigError  # noqa: E402
from mm_nav.geometry import wrap_angle  # noqa: E402
from mm_nav.sim.episode import make_episode  # noqa: E402
from mm_nav.sim.generator import generate_world  # noqa: E402
from mm_nav.sim.gym_env import NavEnv, register  # noqa: E402
from mm_nav.sim.gym_tasks import named, world_of  # noqa: E402
from mm_nav.sim.simulator import CameraConfig, LifeConfig, SimConfig  # noqa: E402

NAMES = ("mm_nav/LanguageNav-v0", "mm_nav/PointNav-v0")
SMALL = {"world_seeds": (0, 3)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("discrete", [False, True])
def test_gymnasiums_own_check_passes_without_a_warning(name, discrete):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(name, render_mode="rgb_array", discrete=discrete, depth=True, **SMALL)
        check_env(env.unwrapped)
        env.close()


def test_a_module_prefix_registers_and_twice_is_no_harm():
    register()
    env = gymnasium.make("mm_nav.sim.gym_env:mm_nav/PointNav-v0", **SMALL)
    assert env.unwrapped.config.task == "point"


def flat(observation):
    return b"".join(
        value.encode() if isinstance(value, str) else value.tobytes() for _, value in sorted(observation.items())
    )


def rollout(env, seed, steps=15):
    seen = [env.reset(seed=seed)]
    actions = np.random.default_rng(5).uniform(-1, 1, (steps, 2)).astype(np.float32)
    track = [flat(seen[0][0])]
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        track.append((flat(observation), reward, terminated, truncated, info["pose"].tobytes()))
        if terminated or truncated:
            break
    return track


@pytest.mark.parametrize("task", ["language", "point"])
def test_same_seed_and_actions_same_bytes(task):
    first, second = (NavEnv(task=task, depth=True, **SMALL) for _ in range(2))
    track = rollout(first, 7)
    rollout(first, 8)  # what came before must not matter
    assert rollout(first, 7) == track == rollout(second, 7)
    assert rollout(second, 9) != track


def test_moving_people_are_part_of_the_seed():
    sim = SimConfig(camera=CameraConfig(width=96, height=72), life=LifeConfig(people=2))
    first, second = NavEnv(task="point", sim=sim, **SMALL), NavEnv(task="point", sim=sim, **SMALL)
    track = rollout(first, 7, 30)
    assert track == rollout(second, 7, 30) == rollout(first, 7, 30)
    assert track != rollout(NavEnv(task="point", **SMALL), 7, 30)


def test_observations_are_what_the_spaces_say():
    env = NavEnv(depth=True, tokens=True, **SMALL)
    observation, info = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    assert observation["image"].shape == (72, 96, 3) and observation["scan"].shape == (360,)
    assert observation["scan"].max() <= 10.0 and observation["depth"].max() <= 10.0
    assert observation["odometry"] == pytest.approx(np.zeros(5), abs=1e-9)
    assert observation["tokens"][0].any() and observation["instruction"] == info["instruction"]


def test_a_world_seed_gives_the_episode_of_evaluations():
    env = NavEnv()
    for seed in (10_003, 10_007):
        _, info = env.reset(seed=0, options={"world_seed": seed})
        assert env.episode == make_episode(seed)[0]
        assert info["shortest_path"] == pytest.approx(info["way_to_go"], abs=0.1)
    _, info = env.reset(options={"world_seed": 10_003, "task_seed": 4})
    assert env.episode != make_episode(10_003)[0] and info["world_seed"] == 10_003


def test_an_instruction_of_ones_own():
    env = NavEnv()
    env.reset(seed=0, options={"world_seed": 1})
    thing = env.task.objects[0]
    observation, _ = env.reset(
        options={"world_seed": 1, "instruction": f"please go to the {thing.colour} {thing.category}"}
    )
    assert thing.name in env.episode.target_names and thing.category in observation["instruction"]
    with pytest.raises(ConfigError, match="nothing in this world is called"):
        env.reset(options={"world_seed": 1, "instruction": "go to the pink elephant"})
    with pytest.raises(ConfigError, match="ASCII"):
        env.reset(options={"world_seed": 1, "instruction": "gå dit"})


def test_words_fit_things_by_category_and_colour():
    objects = world_of(1, NavEnv().config.sim.robot)[0].objects
    item = next(thing for thing in objects if thing.colour)
    assert set(named(f"the {item.category}", objects)) >= set(named(f"the {item.colour} {item.category}", objects))
    assert named(f"the {item.colour} {item.category}", objects) == tuple(
        other.name for other in objects if (other.colour, other.category) == (item.colour, item.category)
    )


def drive(env, limit=600):
    """Follow the way to go downhill, on the truth; stand still well inside the target's reach."""
    simulator, truth, reach = env._simulator, env.task.truth, 6
    radius = 0.5 if env.config.task == "point" else 1.0
    total, info = 0.0, {"distance": math.inf}
    for _ in range(limit):
        pose = simulator.pose
        row, column = truth.world_to_cell((pose.x, pose.y))
        window = env._field[row - reach : row + reach + 1, column - reach : column + reach + 1]
        step = np.unravel_index(np.argmin(window), window.shape)
        x, y = truth.cell_to_world((row - reach + step[0], column - reach + step[1]))
        bearing = wrap_angle(math.atan2(y - pose.y, x - pose.x) - pose.yaw)
        action = [0.5 if abs(bearing) < 0.5 else 0.0, float(np.clip(1.5 * bearing, -1, 1))]
        if env._field[row, column] <= 0.0:
            action = [0.0 if info["distance"] < radius - 0.03 else 0.2, 0.0]
        _, reward, terminated, truncated, info = env.step(np.array(action, np.float32))
        total += reward
        if terminated or truncated:
            break
    return total, terminated, info


@pytest.mark.parametrize("task", ["point", "language"])
def test_an_expert_arrives_and_is_paid(task):
    env = NavEnv(task=task, kind="category" if task == "language" else None, **SMALL)
    _, first = env.reset(seed=3)
    total, done, info = drive(env)
    assert done and info["success"] and not info["collisions"]
    assert 0.5 < info["spl"] <= 1.0
    # The way there, the bonus, and the price of time.
    assert 10.0 < total < 10.0 + first["way_to_go"]
    with pytest.raises(ConfigError, match="reset"):
        env.step(np.zeros(2, np.float32))


def test_standing_far_away_is_no_success_and_time_runs_out():
    env = NavEnv(task="point", time_limit_s=0.5, **SMALL)
    env.reset(seed=0)
    ends = [env.step(np.zeros(2, np.float32)) for _ in range(5)]
    assert [end[3] for end in ends] == [False] * 4 + [True] and not any(end[2] for end in ends)
    assert ends[-1][1] == pytest.approx(-0.01) and not ends[-1][4]["success"]


@pytest.mark.parametrize("ends", [True, False])
def test_running_into_something_costs_and_may_end_it(ends):
    env = NavEnv(task="point", end_on_collision=ends, **SMALL)
    env.reset(seed=0)
    for _ in range(300):
        _, reward, terminated, truncated, info = env.step(np.array([1.0, 0.0], np.float32))
        if info["collisions"]:
            break
    assert info["collisions"] == 1 and reward < -4.0
    assert terminated is ends and not truncated and not info["success"]


def test_actions_are_shares_of_the_robots_limits():
    env = NavEnv(task="point", **SMALL)
    env.reset(seed=0)
    robot = env.config.sim.robot
    top, back = env._twist(np.array([1, 1], np.float32)), env._twist(np.array([-1, -1], np.float32))
    assert (top.linear, top.angular) == (robot.max_linear, robot.max_angular)
    assert (back.linear, back.angular) == (robot.min_linear, -robot.max_angular)
    assert env._twist(np.array([0.04, -0.04], np.float32)).linear == 0.0
    with pytest.raises(ConfigError, match="not in"):
        env.step(np.array([1.5, 0.0], np.float32))


def test_a_goal_is_given_in_the_robots_frame():
    env = NavEnv(task="point", **SMALL)
    observation, _ = env.reset(seed=2)
    distance, bearing = observation["goal"]
    start, goal = env.episode.start, env.episode.pose
    assert start.x + distance * math.cos(start.yaw + bearing) == pytest.approx(goal.x, abs=1e-4)
    assert start.y + distance * math.sin(start.yaw + bearing) == pytest.approx(goal.y, abs=1e-4)


def test_a_world_file_gives_different_tasks(tmp_path):
    path = tmp_path / "w.sdf"
    generate_world(5).write(path)
    env = NavEnv(world_file=path)
    starts = {env.reset(seed=seed)[1]["pose"].tobytes() for seed in range(3)}
    assert len(starts) == 3
    with pytest.raises(ConfigError, match="task_seed instead"):
        env.reset(options={"world_seed": 3})


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vector_environments(mode):
    kind = {"async": {"context": "spawn"}, "sync": {}}[mode]
    envs = gymnasium.make_vec(NAMES[0], num_envs=2, vectorization_mode=mode, vector_kwargs=kind, **SMALL)
    try:
        observation, _ = envs.reset(seed=[7, 8])
        alone = NavEnv(**SMALL)
        for i, seed in enumerate((7, 8)):
            expected, _ = alone.reset(seed=seed)
            assert observation["instruction"][i] == expected["instruction"]
            assert np.array_equal(observation["image"][i], expected["image"])
        observation, rewards, *_ = envs.step(np.zeros((2, 2), np.float32))
        assert observation["scan"].shape == (2, 360) and rewards.shape == (2,)
    finally:
        envs.close()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"task": "tennis"}, "tennis"),
        ({"kind": "song"}, "song"),
        ({"world_seeds": (3, 3)}, "world_seeds"),
        ({"world_seeds": (0, 3), "world_file": "w.sdf"}, "world_seeds and world_file"),
        ({"task": "point", "kind": "category"}, "kind and tokens"),
        ({"task": "point", "tokens": True}, "kind and tokens"),
        ({"dt_s": 0.0}, "dt_s"),
        ({"wings": 2}, "wings"),
        ({"render_mode": "smell"}, "smell"),
    ],
)
def test_wrong_settings_are_named(wrong, message):
    with pytest.raises(ConfigError, match=message):
        NavEnv(**wrong)


def test_before_reset_and_after_close_it_says_so():
    env = NavEnv(**SMALL)
    with pytest.raises(ConfigError, match="reset"):
        env.step(np.zeros(2, np.float32))
    env.reset(seed=0)
    env.close()
    with pytest.raises(ConfigError, match="reset"):
        env.step(np.zeros(2, np.float32))
    with pytest.raises(ConfigError, match="wind"):
        env.reset(options={"wind": 1})
