"""Is each topic there, of the right type, heard, fast enough and on time? Pure functions of a GraphSnapshot."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from mm_nav.ros.graph_snapshot import (
    COMPRESSED,
    IMAGE,
    Endpoint,
    Finding,
    GraphSnapshot,
    Level,
    Wanted,
    fail,
    ok,
    warn,
)
from mm_nav.ros.transports import profile_variable

# A stamp may lie so far ahead of this clock: clocks of machines that are synchronised differ by less, /clock comes in steps.
_AHEAD_S, _AHEAD_SIMULATED_S = 0.05, 0.15
# Beyond this, two clocks are not the same one set badly: one of them is simulated.
_OTHER_CLOCK_S = 1e6
# From this share of lost messages on, it is the transport and not a busy moment.
_LOST_WARN, _LOST_FAIL = 0.1, 0.5
# Below this share of the rate in the robot's file, something is set otherwise than there.
_SLOW_SHARE = 0.7
# Words in a topic's name that make it more or less likely to be what a role wants.
_LIKELY = {
    "image": (("color", "rgb", "image_raw", "front"), ("depth", "infra", "/ir", "left", "right", "rect", "annotated", "heatmap")),
    "camera_info": (("color", "rgb", "front"), ("depth", "infra", "/ir", "left", "right")),
    "scan": (("scan", "front"), ("filtered", "raw")),
    "odom": (("odom", "filtered"), ("ground_truth", "truth", "vio")),
    "points": (("points", "velodyne"), ("depth", "camera")),
}  # fmt: skip
# Who publishes what, where nobody does.
_SOURCES = {
    "image": "the camera's driver", "camera_info": "the camera's driver, with its calibration", "scan": "the LiDAR's driver",
    "points": "the LiDAR's driver", "odom": "the driver of the base", "imu": "the IMU's driver",
    "tf_static": "robot_state_publisher with the robot's URDF, or a static_transform_publisher for each sensor",
    "tf": "the driver of the base, so that it publishes odom -> base_link",
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What a sensor's timing may be, s. gap: silences beyond it stop something (`stops` says what); slow_gap: `slows` happens.
    age, slow_age: the same of a message's age when it comes. rate_hz: as the robot's file has it, 0 = not known."""

    gap: float
    age: float
    stops: str
    slows: str = ""
    slow_gap: float = float("inf")
    slow_age: float = float("inf")
    rate_hz: float = 0.0


def check_topic(s: GraphSnapshot, role: str, limits: Limits | None, level: Level = Level.FAIL) -> list[Finding]:
    """Return the findings on a role's topic: publisher, type, QoS, and, with limits, rate and time. level: of its absence."""
    wanted = s.wanted[role]
    publishers = s.publishers.get(wanted.topic, ())
    fitting = [end for end in publishers if end.type == wanted.type]
    if not fitting:
        return [_wrong_type(s, wanted, publishers, level) if publishers else missing(s, wanted, level)]
    found = [_publishers(wanted, publishers, fitting), *_qos(wanted, fitting)]
    if all(_unheard(wanted, end) for end in fitting):
        return found
    traffic = s.heard(role)
    if traffic.unreadable:
        text = f"{wanted.topic}: {traffic.unreadable}"
        return [*found, fail(f"{role}: message", "unreadable", text, wanted.type, f"correct {_names(fitting)}")]
    if not traffic.arrivals_s:
        nodes = _names(fitting)
        remedy = f"look at the log of {nodes}: the driver runs, its device does not deliver"
        return [*found, fail(f"{role}: rate", "silent", f"nothing came in {s.seconds:.1f} s", "messages", remedy)]
    if limits is not None:
        found += [_rate(s, role, limits, fitting), *_losses(s, role, fitting)]
        if traffic.stamps_ns:
            found.append(_time(s, role, limits, fitting))
    return found


def missing(s: GraphSnapshot, wanted: Wanted, level: Level = Level.FAIL) -> Finding:
    """Return the finding that nobody publishes a topic, with what comes nearest to it."""
    make = fail if level is Level.FAIL else warn
    base = wanted.topic.rsplit("/", 1)[1]
    nearest = candidates(s, wanted)
    if not nearest:
        measured = f"nobody publishes {wanted.topic}, and there is no topic of type {wanted.type}"
        remedy = f"start {_SOURCES.get(wanted.role, 'the driver')}"
        other = COMPRESSED if wanted.type == IMAGE else IMAGE
        if wanted.role == "image" and (there := s.of_type(other)):
            measured = f"nobody publishes {wanted.topic} ({wanted.type}); there is {there[0]} of type {other}"
            use = "false" if other == IMAGE else "true"
            to = f"image:={there[0]}" if other == IMAGE else f"image/compressed:={there[0]}"
            remedy = f"start inference with `-p compressed:={use} -r {to}`, and check again" + (
                "" if other == IMAGE else " with --compressed"
            )
        elif wanted.role in ("image", "camera_info") and s.robot.said_by != "--robot":
            remedy += "; of a robot without a camera, name the robot: --robot FILE"
        return make(wanted.role, "missing", measured, wanted.type, remedy)
    best = nearest[0]
    nodes = ", ".join(sorted({end.node for end in s.publishers[best] if end.type == wanted.type}))
    measured = f"nobody publishes {wanted.topic}; there is {best} of type {wanted.type} (from {nodes})"
    remap = f"remap {wanted.role}:={best}, as in `ros2 launch mm_nav robot.launch.py {wanted.role}:={best}`"
    if wanted.role not in _LIKELY:
        own = f"/{base}" if wanted.role.startswith("tf") else base  # as the nodes name it
        remap = f"remap it: `--ros-args -r {own}:={best}` for guard, inference and navigator"
    space = best[: -len(wanted.topic)] if best.endswith(wanted.topic) else ""
    if space and not s.namespace:
        remap = (
            f"it lies in namespace {space}: check with --namespace {space} and start the stack with namespace:={space[1:]}; or "
            f"{remap}"
        )
    elif s.namespace and best == wanted.topic.removeprefix(s.namespace):
        remap = f"it lies outside of namespace {s.namespace}: start its driver in there, or {remap}"
    more = f"; others are {', '.join(nearest[1:4])}" if len(nearest) > 1 else ""
    return make(wanted.role, "missing_near", measured + more, wanted.type, remap)


def candidates(s: GraphSnapshot, wanted: Wanted) -> list[str]:
    """Return topics of the wanted type that serve no other role, the likeliest first."""
    taken = {other.topic for other in s.wanted.values()}
    good, bad = _LIKELY.get(wanted.role, ((), ()))

    def cost(topic: str) -> tuple[int, int, str]:
        score = sum(word in topic for word in good) - 2 * sum(word in topic for word in bad)
        return -score - 2 * topic.endswith(wanted.topic), len(topic), topic

    found = [topic for topic in s.of_type(wanted.type) if topic not in taken]
    if wanted.role.startswith("tf"):
        found = [topic for topic in found if topic.endswith(f"/{wanted.role}")]
    return sorted(found, key=cost)


def _publishers(wanted: Wanted, publishers: tuple[Endpoint, ...], fitting: list[Endpoint]) -> Finding:
    others = [end for end in publishers if end.type != wanted.type]
    if others:
        text = f"{wanted.topic} is published as {others[0].type} too, by {_names(others)}"
        return fail(
            wanted.role, "two_types", text, f"{wanted.type} only", f"stop or rename the topic of {_names(others)}"
        )
    if len(fitting) > 1 and wanted.role not in ("tf", "tf_static"):
        text = f"{wanted.topic} has {len(fitting)} publishers: {_names(fitting)}"
        remedy = f"stop all of them but one: the stack would take {wanted.role} of two sensors for one that jumps"
        return fail(wanted.role, "two_publishers", text, "one publisher", remedy)
    return ok(wanted.role, f"{wanted.topic} from {_names(fitting)}", wanted.type)


def _wrong_type(s: GraphSnapshot, wanted: Wanted, publishers: tuple[Endpoint, ...], level: Level) -> Finding:
    text = f"{wanted.topic} is {publishers[0].type} (from {_names(publishers)})"
    remedy = f"make {_names(publishers)} publish {wanted.type}"
    if {publishers[0].type, wanted.type} == {IMAGE, COMPRESSED}:
        use = wanted.type == IMAGE
        name = "image/compressed" if use else "image"
        remedy = f"start inference with `-p compressed:={str(use).lower()} -r {name}:={wanted.topic}`"
    elif nearest := candidates(s, wanted):
        remedy = f"{nearest[0]} has the right type: remap {wanted.role}:={nearest[0]}"
    return (fail if level is Level.FAIL else warn)(wanted.role, "wrong_type", text, wanted.type, remedy)


def _unheard(wanted: Wanted, end: Endpoint) -> bool:
    return (wanted.reliable and not end.reliable) or (wanted.transient_local and not end.transient_local)


def _qos(wanted: Wanted, fitting: list[Endpoint]) -> list[Finding]:
    asked = _profile(wanted.reliable, wanted.transient_local)
    lost = [end for end in fitting if _unheard(wanted, end)]
    if not lost:
        offered = " / ".join(sorted({_profile(end.reliable, end.transient_local) for end in fitting}))
        return [ok(f"{wanted.role}: QoS", offered, f"{asked} or more")]
    end = lost[0]
    policy, value = (
        ("reliability", "reliable") if wanted.reliable and not end.reliable else ("durability", "transient_local")
    )
    text = f"{_names(lost)} offers {_profile(end.reliable, end.transient_local)}: the stack hears nothing of it"
    remedy = (
        f"publish {wanted.topic} {value.replace('_', '-')}: `-p qos_overrides.{wanted.topic}.publisher.{policy}:={value}` for "
        f"{_names(lost)} where it allows that, else in its code"
    )
    return [fail(f"{wanted.role}: QoS", f"qos_{policy}", text, asked, remedy)]


def _profile(reliable: bool, transient_local: bool) -> str:
    return f"{'reliable' if reliable else 'best-effort'}, {'transient-local' if transient_local else 'volatile'}"


def _rate(s: GraphSnapshot, role: str, limits: Limits, fitting: list[Endpoint]) -> Finding:
    traffic = s.heard(role)
    item, gaps, rate = f"{role}: rate", traffic.gaps_s(s.until_s), traffic.rate_hz
    long = sum(gap > limits.gap for gap in gaps)
    worst = max(gaps, default=s.seconds)
    expected = f"gaps below {limits.gap:.2f} s" + (f", about {limits.rate_hz:.0f} Hz" if limits.rate_hz else "")
    measured = f"{rate:.1f} Hz, longest gap {worst:.2f} s" if rate else f"one message in {s.seconds:.1f} s"
    nodes = _names(fitting)
    if gaps and gaps[-1] > limits.gap and len(gaps) > 3:
        text = f"{measured}: it fell silent {gaps[-1]:.1f} s ago"
        return fail(item, "fell_silent", text, expected, f"look at the log of {nodes}, and at its device's cable")
    if not rate or long > 1 or 1.0 / rate > limits.gap:
        remedy = f"raise the rate of {nodes} above {1.0 / limits.gap:.0f} Hz, or relieve its machine: {limits.stops}"
        return fail(item, "slow", measured, expected, remedy)
    if long or worst > limits.slow_gap:
        effect = limits.stops if long else limits.slows
        remedy = f"look what keeps {nodes} or its machine busy (`top`), or raise its rate: at such gaps, {effect}"
        return warn(item, "gap", measured, expected, remedy)
    if limits.rate_hz and rate < _SLOW_SHARE * limits.rate_hz:
        remedy = f"set the rate of {nodes}, or correct rate_hz in the robot's file"
        return warn(item, "below_file", measured, expected, remedy)
    return ok(item, measured, expected)


def _losses(s: GraphSnapshot, role: str, fitting: list[Endpoint]) -> list[Finding]:
    traffic, item = s.heard(role), f"{role}: transport"
    sent = traffic.lost + len(traffic.arrivals_s)
    measured = f"{traffic.lost} of {sent} never arrived"
    if role == "image" and not traffic.lost:
        # Middlewares without numbers: a driver sends a camera_info with each picture.
        infos = len(s.heard("camera_info").arrivals_s)
        sent = max(sent, infos)
        measured = f"{len(traffic.arrivals_s)} pictures came with {infos} camera_info"
    share = 1.0 - len(traffic.arrivals_s) / sent
    if share < _LOST_WARN or sent < 5:
        return [ok(item, "nothing lost" if not traffic.lost else measured)] if role in ("image", "points") else []
    size = f", {traffic.bytes / 1e6:.1f} MB each" if traffic.bytes > 100_000 else ""
    profile = s.environment.get("profile", "config/fastdds.xml")
    remedy = (
        f"start {_names(fitting)} with `export {profile_variable()}={profile}` (room for pictures in shared memory); over a "
        "network, send compressed pictures"
    )
    make = fail if share > _LOST_FAIL else warn
    return [make(item, "lost", measured + size, f"below {100 * _LOST_WARN:.0f} %", remedy)]


def _time(s: GraphSnapshot, role: str, limits: Limits, fitting: list[Endpoint]) -> Finding:
    traffic, item, nodes = s.heard(role), f"{role}: time", _names(fitting)
    stamps = traffic.stamps_ns
    clock = "/clock" if s.simulated else "this clock"
    ahead = _AHEAD_SIMULATED_S if s.simulated else _AHEAD_S
    expected = f"{-ahead:.2f} to {min(limits.age, limits.slow_age):.2f} s old"
    if not all(stamps):
        remedy = f"make {nodes} stamp its messages (header.stamp = now): the stack cannot tell how old they are"
        return fail(item, "zero_stamp", "header.stamp is 0", expected, remedy)
    steps = [b - a for a, b in pairwise(stamps)]
    if len(steps) > 1 and max(steps) <= 0:
        return fail(item, "stuck_stamp", "header.stamp never changes", expected, f"correct the stamps of {nodes}")
    if (back := sum(step < 0 for step in steps)) and back < len(steps):
        text = f"stamps went back {back} times: two publishers, or a recording that begins anew"
        return fail(item, "stamps_back", text, "growing stamps", f"look for a second source beside {nodes}")
    ages = traffic.ages_s(s.simulated)
    if not ages:
        return warn(item, "no_age", "none came while /clock ran", expected, "check again with more --seconds")
    age = median(ages)
    if abs(age) > _OTHER_CLOCK_S:
        return _other_clock(s, item, nodes, age, expected)
    measured = f"{-age:.2f} s ahead of {clock}" if age < -0.005 else f"{abs(age):.2f} s old by {clock}"
    sync = f"synchronise the clocks of the machines (`chronyc tracking`), or correct the stamps of {nodes}"
    if age < -ahead:
        code = "future"
        return (fail if age < -limits.age else warn)(item, code, measured, expected, f"{sync}: {limits.stops}")
    remedy = f"{sync}, or make {nodes} faster: {limits.stops}"
    if age > limits.age:
        return fail(item, "old", measured, expected, remedy)
    if age > limits.slow_age:
        return warn(item, "old", measured, expected, f"{sync}, or make {nodes} faster: {limits.slows}")
    return ok(item, measured, expected)


def _other_clock(s: GraphSnapshot, item: str, nodes: str, age: float, expected: str) -> Finding:
    if s.simulated:
        text = f"stamped by the system's clock, while /clock is published ({abs(age):.0f} s apart)"
        remedy = f"start {nodes} with `-p use_sim_time:=true`, or stop whoever publishes /clock"
    else:
        text = f"stamps are {abs(age):.0f} s {'old' if age > 0 else 'ahead'}: those of a simulation or a recording, without /clock"
        remedy = f"publish /clock (ros_gz_bridge, or `ros2 bag play --clock`), or start {nodes} with `-p use_sim_time:=false`"
    return fail(item, "other_clock", text, expected, remedy)


def _names(ends: list[Endpoint] | tuple[Endpoint, ...]) -> str:
    return ", ".join(sorted({end.node for end in ends}))
