"""Several robots in one world, step by step together: they see each other, and none drives through another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D, Twist2D
from mm_nav.robot import RobotConfig
from mm_nav.sim import bodies
from mm_nav.sim.contacts import overlapping
from mm_nav.sim.life import Life, LifeConfig
from mm_nav.sim.moving import MovingBodies
from mm_nav.sim.scene import Scene
from mm_nav.sim.simulator import STREAMS, SimConfig, Simulator
from mm_nav.sim.starts import check_starts
from mm_nav.sim.world import World

Points = npt.NDArray[np.float64]


class Fleet:
    """Robots that share a scene, its people and its doors, and one clock.

    robots: a Simulator each, in the order given: body, sensors, odometry and contacts are its own, and so is its noise, drawn
    from one seed. The first robot's noise is that of a Simulator with this seed, and a fleet of one is that Simulator, bit
    for bit. names: what they are called where they are touched or seen. life: who else is about; None = nobody.
    """

    def __init__(
        self,
        scene: Scene | World,
        configs: Sequence[SimConfig],
        starts: Sequence[Pose2D],
        seed: int = 0,
        names: Sequence[str] = (),
    ) -> None:
        """configs: the first one that has a `life` gives it to all. starts: world frame. names: () = robot1, robot2, …

        Raises ConfigError when the numbers of these differ, a name is there twice, the robots do not share one physics_dt, or
        (of several) one does not stand free.
        """
        self.scene = scene if isinstance(scene, Scene) else Scene(scene)
        self.names = tuple(names) or tuple(f"robot{number + 1}" for number in range(len(configs)))
        if not configs or not len(configs) == len(starts) == len(self.names):
            raise ConfigError(
                f"{len(configs)} robots with {len(starts)} starts and {len(self.names)} names: give one of each for every robot"
            )
        if len(set(self.names)) < len(self.names):
            raise ConfigError(f"robots {', '.join(self.names)}: two have the same name, give each its own")
        steps = {config.physics_dt for config in configs}
        if len(steps) > 1:
            raise ConfigError(f"robots with physics_dt {', '.join(f'{s} s' for s in sorted(steps))}: give all the same")
        self._physics_dt = steps.pop()
        self._life_config: LifeConfig | None = next((c.life for c in configs if c.life is not None), None)
        alone = [replace(config, life=None) for config in configs]
        self._check(starts, alone)
        self._seed = seed
        self.life: Life | None = None
        self.robots = tuple(
            Simulator(self.scene, config, seed, start, member)
            for member, (config, start) in enumerate(zip(alone, starts, strict=True))
        )
        self._surround()

    @property
    def time_ns(self) -> int:
        """Simulated time, the same for all."""
        return self.robots[0].time_ns

    def reset(self, starts: Sequence[Pose2D], seed: int | None = None) -> None:
        """Put the robots at `starts` (world frame), at rest, at time 0; `seed` None keeps the last one. Raises ConfigError."""
        if len(starts) != len(self.robots):
            raise ConfigError(f"{len(self.robots)} robots with {len(starts)} starts: give one for each")
        self._check(starts, [robot.config for robot in self.robots])
        self._seed = self._seed if seed is None else seed
        for robot, start in zip(self.robots, starts, strict=True):
            robot.reset(start, self._seed)
        self._surround()

    def step(self, twists: Sequence[Twist2D], dt: float) -> None:
        """Drive all for `dt` seconds, each under its own command.

        In every physics step people and doors move first and then one robot after the other, so that whoever moves into
        another one is who ran into it. Raises ConfigError as Simulator.step does, and when there is not one command for each.
        """
        if len(twists) != len(self.robots):
            raise ConfigError(f"{len(self.robots)} robots with {len(twists)} commands: give one for each")
        count = min([robot.begin(twist, dt) for robot, twist in zip(self.robots, twists, strict=True)])
        bumped: list[str | None] = [None] * len(self.robots)
        for _ in range(count):
            if self.life is not None:
                corners = [robot.corners for robot in self.robots]
                bumped = self.life.step(self._physics_dt, corners, [robot.pose for robot in self.robots])
            for robot, who in zip(self.robots, bumped, strict=True):
                robot.physics_step(who)

    def _check(self, starts: Sequence[Pose2D], configs: Sequence[SimConfig]) -> None:
        if len(configs) > 1:
            check_starts(self.scene, [config.robot for config in configs], starts, self.names)

    def _surround(self) -> None:
        """Make everybody else what moves around each robot."""
        self.life = None
        if self._life_config is not None:
            random = np.random.default_rng((self._seed, STREAMS["life"]))
            self.life = Life(self.scene, self._life_config, random, [robot.pose for robot in self.robots])
        figures = [bodies.fleet_body(robot.config.robot, number) for number, robot in enumerate(self.robots)]
        for member, robot in enumerate(self.robots):
            if len(self.robots) == 1:
                robot.surroundings = self.life
                continue
            others = [
                _Other(name, other, figure)
                for number, (name, other, figure) in enumerate(zip(self.names, self.robots, figures, strict=True))
                if number != member
            ]
            robot.surroundings = _Company(self.scene, robot.config.robot, others, self.life)


class _Other:
    """Another robot, as one of them meets it."""

    def __init__(self, name: str, robot: Simulator, figure: bodies.Figure) -> None:
        self.name, self.robot, self.figure = name, robot, figure
        self.body = robot.config.robot

    def level_with(self, body: RobotConfig) -> bool:
        """Whether a part of it is as high above the floor as a part of `body`."""
        return max(self.body.ground_clearance_m, body.ground_clearance_m) < min(self.body.height_m, body.height_m)


class _Company:
    """People, doors and the other robots around one robot: what it sees and what it can run into."""

    def __init__(self, scene: Scene, body: RobotConfig, others: Sequence[_Other], life: Life | None) -> None:
        self._others, self._life, self._floor = others, life, scene.floor_z
        self._solid = [other for other in others if other.level_with(body)]
        known = [] if life is None else list(zip(life.names, life.figures, strict=True))
        known += [(other.name, other.figure) for other in others]
        self._bodies = MovingBodies(scene, [(name, figure.segments) for name, figure in known], self._segment_poses)
        self._seen: tuple[object, ...] = ()

    def touching(self, footprint: Points) -> str | None:
        """Return the name of what a footprint (K, 2), world, metres, overlaps; None = nothing."""
        found = None if self._life is None else self._life.touching(footprint)
        if found is not None:
            return found
        centre = footprint.mean(axis=0)
        reach = float(np.hypot(*(footprint - centre).T).max())
        for other in self._solid:
            pose = other.robot.pose
            if float(np.hypot(pose.x - centre[0], pose.y - centre[1])) > reach + other.body.circumscribed_radius:
                continue
            if overlapping(footprint, other.robot.corners[None])[0]:
                return other.name
        return None

    @property
    def moving(self) -> MovingBodies:
        """What sensors see of everybody, where they are now."""
        # Triangles are built anew only when somebody has moved: a robot that stands costs nothing.
        now = (None if self._life is None else self._life.time, *(other.robot.pose for other in self._others))
        if now != self._seen:
            self._seen = now
            spheres = [
                other.figure.sphere(other.robot.pose.x, other.robot.pose.y, other.robot.pose.yaw, self._floor)
                for other in self._others
            ]
            table = np.array(spheres, np.float64)
            if self._life is not None:
                table = np.concatenate([self._life.spheres(), table])
            self._bodies.move(table[:, :3], table[:, 3])
        return self._bodies

    def _segment_poses(self) -> npt.NDArray[np.float64]:
        poses = []
        for other in self._others:
            pose = other.robot.pose
            poses += other.figure.poses(pose.x, pose.y, pose.yaw, self._floor, 0.0)
        own = np.array(poses).reshape(-1, 4, 4)
        return own if self._life is None else np.concatenate([self._life.segment_poses(), own])
