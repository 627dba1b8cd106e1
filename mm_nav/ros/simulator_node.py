"""The embedded simulator as a ROS 2 node: what Gazebo and its bridge, or robots' drivers, would publish."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from rosgraph_msgs.msg import Clock as ClockMessage

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.resources import resource_path
from mm_nav.ros import conversions, qos
from mm_nav.ros.namespaces import robot_kinds, robot_names
from mm_nav.ros.parameters import ParameterSpec
from mm_nav.ros.simulated_robot import FAST_TICK_S, TICK_S, SimulatedRobot
from mm_nav.ros.stack_node import StackNode, run_node
from mm_nav.ros.topics import topics
from mm_nav.safety.inputs import Level
from mm_nav.sim.contacts import contact_world
from mm_nav.sim.fleet import Fleet
from mm_nav.sim.rig import load_life, load_rig
from mm_nav.sim.scene import Scene
from mm_nav.sim.sensors import ImuConfig
from mm_nav.sim.simulator import LifeConfig, SimConfig
from mm_nav.sim.starts import parse_starts, starts_in
from mm_nav.sim.world import load_world

PHYSICS_S = 0.01
_REPORT_S = 1.0
_SLOW = 0.9  # a smaller share of the wanted rate is reported


class SimulatorNode(StackNode):
    """Steps the simulator in real time (or faster), publishes its robots' sensors and the clock, obeys their cmd_vel."""

    PARAMETERS = (
        ParameterSpec("world", "", "SDF world file; empty = the apartment that comes with mm_nav"),
        ParameterSpec(
            "robots",
            "",
            "several robots in one world: their names, separated by commas; each has its topics and its TF tree in a namespace of "
            "that name, below the node's own; empty = one robot in the node's own namespace",
            check=robot_names,
        ),
        ParameterSpec(
            "starts",
            "",
            "start poses of the robots: 'x,y,yaw; x,y,yaw', m and rad; empty = of one robot start_x, start_y and start_yaw, or "
            "where these are all 0 the world's own start; of several the world's own and free places near it",
            check=parse_starts,
        ),
        ParameterSpec("start_x", 0.0, "start position of a single robot, m", -1000.0, 1000.0),
        ParameterSpec("start_y", 0.0, "start position of a single robot, m", -1000.0, 1000.0),
        ParameterSpec("start_yaw", 0.0, "start heading of a single robot, rad", -6.3, 6.3),
        ParameterSpec("seed", 0, "seed of all sensor and odometry noise, and of the people", 0, 2**31 - 1),
        ParameterSpec("rate", 1.0, "simulated seconds per second; 0 = as fast as possible", 0.0, 100.0),
        ParameterSpec(
            "robot",
            "generic",
            "robot with its sensors: a name in config/robots, or a YAML file; one for all robots, or one for each, separated by "
            "commas",
            check=robot_kinds,
        ),
        ParameterSpec("urdf", "", "URDF file with the links that the robot's sensors are mounted on; empty = its own"),
        ParameterSpec("people", 0, "people who wander about", 0, 200),
        ParameterSpec("life", "", "YAML file with people, robots and doors that move; empty = none but `people`"),
        ParameterSpec("camera", True, "simulate the camera"),
        ParameterSpec("camera_width", 0, "pixels; 0 = as the robot's file says", 0, 4096),
        ParameterSpec("camera_height", 0, "pixels; 0 = as the robot's file says", 0, 4096),
        ParameterSpec("camera_fov", 0.0, "horizontal field of view, rad; 0 = as the robot's file says", 0.0, 3.0),
        ParameterSpec(
            "shadows", False, "render shadows, also where the robot's file does not (costs about twice the time)"
        ),
        ParameterSpec(
            "command_timeout", 0.15, "without a command for this long the robot stops, s of real time", 0.05, 5.0
        ),
        ParameterSpec("twist_stamped", True, "cmd_vel is TwistStamped; false: Twist"),
        ParameterSpec(
            "lost",
            "",
            "sensor that falls silent, to see what the stack does then: its name, or 'alpha/scan' for that of one robot; empty = "
            "none",
        ),
        ParameterSpec("lost_after", 2.0, "when it does: after the first motion, s of simulated time", 0.0, 3600.0),
    )

    def __init__(self) -> None:
        super().__init__("simulator")
        self._robots: list[SimulatedRobot] = []

    def configure(self) -> None:
        """Load robots and world, and create the publishers."""
        world = str(self.value("world"))
        path = Path(world) if world else resource_path("worlds/apartment.sdf")
        if not path.is_file():
            raise ConfigError(f"world file {path} does not exist: give the parameter `world` a path")
        names = robot_names(str(self.value("robots")))
        configs = self._sim_configs(max(len(names), 1))
        self.get_logger().info(f"loading {path}")
        scene = Scene(load_world(path))
        starts = self._starts(scene, path, configs)
        self._fleet = Fleet(scene, configs, starts, int(self.value("seed")), names)
        sensors = [sensor for config in configs for sensor in config.sensors().values()]
        self._tick_s = FAST_TICK_S if any(isinstance(sensor, ImuConfig) for sensor in sensors) else TICK_S
        self._time = self.create_publisher(ClockMessage, "/clock", qos.STATUS)
        self._diagnostics = self.create_publisher(DiagnosticArray, topics().diagnostics, qos.STATUS)
        self._robots = [
            SimulatedRobot(self, name, simulator, self._tick_s, member)
            for member, (name, simulator) in enumerate(zip(names or ("",), self._fleet.robots, strict=True))
        ]
        self._lose(str(self.value("lost")))
        if names:
            self.get_logger().info(
                "; ".join(f"{n} starts at {s.x:g},{s.y:g},{s.yaw:g}" for n, s in zip(names, starts, strict=True))
            )

    def _sim_configs(self, count: int) -> list[SimConfig]:
        kinds = robot_kinds(str(self.value("robot")), count)
        rigs = {kind: load_rig(kind, str(self.value("urdf")) or None) for kind in kinds}
        configs = [rigs[kind] for kind in kinds]
        life = load_life(str(self.value("life"))) if self.value("life") else None
        life = life or next((config.life for config in configs if config.life is not None), None)
        if self.value("people"):
            life = replace(life or LifeConfig(), people=int(self.value("people")))
        given = {"width": "camera_width", "height": "camera_height", "horizontal_fov": "camera_fov"}
        changes = {field: self.value(name) for field, name in given.items() if self.value(name)}
        made = []
        for config in configs:
            camera = config.camera if self.value("camera") else None
            if camera is not None:
                camera = replace(camera, shadows=bool(self.value("shadows")) or camera.shadows, **changes)
            made.append(replace(config, camera=camera, life=life, physics_dt=PHYSICS_S))
        return made

    def _starts(self, scene: Scene, path: Path, configs: Sequence[SimConfig]) -> Sequence[Pose2D]:
        robots = [config.robot for config in configs]
        starts = parse_starts(str(self.value("starts")))
        if starts and len(starts) != len(robots):
            raise ConfigError(
                f"starts '{self.value('starts')}' are {len(starts)} for {len(robots)} robots: give one for each, or none"
            )
        given = Pose2D(*(float(self.value(f"start_{axis}")) for axis in ("x", "y", "yaw")))
        if not starts and len(robots) == 1 and given != Pose2D(0.0, 0.0, 0.0):
            starts = (given,)
        starts = starts or starts_in(path, robots, scene)
        # Of several the fleet looks itself.
        start, robot = starts[0], robots[0]
        obstacle = contact_world(scene, robot).touching(robot.footprint_array(), start) if len(robots) == 1 else None
        if obstacle is not None:
            self.get_logger().warning(
                f"the robot starts at {start.x:g},{start.y:g}, in '{obstacle}': give it a start that is free"
            )
        return starts

    def _lose(self, lost: str) -> None:
        """Note which sensor is to fall silent."""
        if not lost:
            return
        after, known = float(self.value("lost_after")), []
        for robot in self._robots:
            for sensor in robot.simulator.config.sensors():
                full = f"{robot.name}/{sensor}".lstrip("/")
                known += list(dict.fromkeys((sensor, full)))
                if lost in (sensor, full):
                    robot.lose(sensor, after)
        if lost not in known:
            raise ConfigError(f"lost is '{lost}': give one of {', '.join(dict.fromkeys(known))}, or nothing")

    def activate(self) -> None:
        """Start the clock."""
        rate = float(self.value("rate"))
        self.create_timer(self._tick_s / rate if rate > 0 else 1e-4, self._step, clock=self.steady)
        self.create_timer(_REPORT_S, self._report, clock=self.steady)
        self._reported = self.steady_s(), time.process_time(), self._fleet.time_ns
        for robot in self._robots:
            robot.publish_mounts()

    def deactivate(self) -> None:
        """Say that the clock stands."""
        self._diagnose("inactive: activate this node", {}, Level.WARN)

    def cleanup(self) -> None:
        """Drop the world."""
        self._robots = []
        self.__dict__.pop("_fleet", None)

    def _step(self) -> None:
        if not self.active:  # a timer that was due when it was destroyed may still come
            return
        timeout = float(self.value("command_timeout"))
        self._fleet.step([robot.command(timeout) for robot in self._robots], self._tick_s)
        self._time.publish(ClockMessage(clock=conversions.to_time(self._fleet.time_ns)))
        for robot in self._robots:
            robot.publish()

    def _report(self) -> None:
        """Say that the simulator lives, and whether it keeps up."""
        now, rate = (self.steady_s(), time.process_time(), self._fleet.time_ns), float(self.value("rate"))
        real, busy, simulated = (new - old for new, old in zip(now, self._reported, strict=True))
        self._reported = now
        factor = 1e-9 * simulated / max(real, 1e-9)
        values: dict[str, float | str] = {
            "robots": len(self._robots),
            "real_time_factor": f"{factor:.3f}",
            "wanted_rate": f"{rate:g}",
            "cpu_share": f"{busy / max(real, 1e-9):.3f}",
            "simulated_s": f"{1e-9 * self._fleet.time_ns:.1f}",
            "collisions": sum(robot.simulator.collisions for robot in self._robots),
        }
        if factor < _SLOW * rate:
            text = (
                f"too slow: {factor:.2f} of real time instead of {rate:g}; give smaller cameras, fewer people or robots"
            )
            self._diagnose(text, values, Level.WARN)
        else:
            self._diagnose(f"simulating, {factor:.2f} of real time", values, Level.OK)

    def _diagnose(self, text: str, values: dict[str, float | str], level: Level) -> None:
        name, robots = self.get_fully_qualified_name(), str(self.value("robot"))
        stamp = self._fleet.time_ns
        self._diagnostics.publish(conversions.diagnostics_message(name, robots, text, values, stamp, level))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node."""
    return run_node(SimulatorNode, argv)


if __name__ == "__main__":
    sys.exit(main())
