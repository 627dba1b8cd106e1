"""Who drives, who listens, and is the stack itself up? Pure functions of a GraphSnapshot."""

from __future__ import annotations

from collections import Counter

from mm_nav.ros.graph_snapshot import (
    STACK_NODES,
    TWIST,
    TWIST_STAMPED,
    Endpoint,
    Finding,
    GraphSnapshot,
    fail,
    ok,
    warn,
)

# Topics that every node has, and that say nothing about a robot.
_EVERYWHERE = ("/rosout", "/parameter_events")
# The guard's heartbeat comes 20 times a second; the navigator gives up on it after a second.
_HEARTBEAT_GAP_S = 1.0
# More commands than the guard's statuses are somebody else's; one more or less came as listening began or ended, or was lost.
_UNEVEN, _UNEVEN_SHARE = 2, 0.05


def is_deserted(s: GraphSnapshot) -> bool:
    """Return whether nothing at all was seen."""
    return not s.nodes and not any(ends for topic, ends in s.publishers.items() if topic not in _EVERYWHERE)


def check_network(s: GraphSnapshot) -> list[Finding]:
    """Return the findings on who is there: nobody, somebody, two of one name."""
    env = s.environment
    domain = env.get("ROS_DOMAIN_ID") or "0"
    reach = env.get("ROS_AUTOMATIC_DISCOVERY_RANGE") or "SUBNET"
    if env.get("ROS_LOCALHOST_ONLY") == "1":
        reach = "LOCALHOST (by ROS_LOCALHOST_ONLY)"
    measured = f"{len(s.nodes)} nodes, domain {domain}, range {reach}"
    if is_deserted(s):
        near = "this machine" if reach.startswith("LOCALHOST") else "this network"
        remedy = (
            f"on {near} nobody is in domain {domain}: set ROS_DOMAIN_ID here to the robot's (`echo $ROS_DOMAIN_ID` there); where "
            "it is another machine, set ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET (ROS_LOCALHOST_ONLY=0 on Humble) on both; use the "
            f"same RMW_IMPLEMENTATION (here {env.get('RMW_IMPLEMENTATION') or 'the default'})"
        )
        return [fail("network", "deserted", f"nothing at all is there: {measured}", "nodes and topics", remedy)]
    found = [ok("network", measured, "nodes and topics")]
    twice = [name for name, count in Counter(s.nodes).items() if count > 1]
    if twice:
        text = f"{', '.join(twice)} {'is' if len(twice) == 1 else 'are'} there {Counter(s.nodes)[twice[0]]} times"
        remedy = "stop one of them (an old launch still running?), or give each robot a namespace"
        found.append(fail("nodes", "two_nodes", text, "each name once", remedy))
    else:
        found.append(ok("nodes", "each name once", "each name once"))
    return found


def check_stack(s: GraphSnapshot) -> list[Finding]:
    """Return the findings on the stack's own nodes: their lifecycles, the guard's heartbeat, which robot they drive."""
    launch = "`ros2 launch mm_nav robot.launch.py`" + (f" with namespace:={s.namespace[1:]}" if s.namespace else "")
    if not s.stack:
        text = f"not running: no {', '.join(STACK_NODES)}"
        guards = sorted(name for name in s.nodes if name.endswith("/guard"))
        if guards:
            space = guards[0].removesuffix("/guard") or "/"
            text = f"{text} in {s.namespace or '/'}; there is {guards[0]}"
            return [warn("stack", "no_stack", text, "all three active", f"check that robot: --namespace {space}")]
        return [warn("stack", "no_stack", text, "all three active", f"start it: {launch}")]
    found = []
    for name in STACK_NODES:
        node = s.stack.get(name)
        if node is None:
            why = ": without it the robot must not move" if name == "guard" else ""
            found.append(
                fail(name, "node_missing", f"not running{why}", "active", f"start it: {launch}, and look at its log")
            )
        elif not node.state:
            remedy = "look at its log and at `top`; a node that hangs must be restarted"
            found.append(fail(name, "no_answer", f"{node.name} does not answer", "active", remedy))
        elif node.state != "active":
            steps = ("configure", "activate") if node.state == "unconfigured" else ("activate",)
            remedy = " && ".join(f"ros2 lifecycle set {node.name} {step}" for step in steps)
            found.append(
                fail(
                    name,
                    "inactive",
                    f"{node.name} is {node.state}",
                    "active",
                    f"`{remedy}`; its log says why it is not",
                )
            )
        else:
            found.append(ok(name, f"{node.name} is active", "active"))
    return [*found, *_heartbeat(s), *_robots(s)]


def _heartbeat(s: GraphSnapshot) -> list[Finding]:
    guard, traffic = s.stack.get("guard"), s.heard("guard_status")
    if guard is None or guard.state != "active" or "guard_status" not in s.wanted:
        return []
    gaps = traffic.gaps_s(s.until_s)
    if not gaps or max(gaps) > _HEARTBEAT_GAP_S:
        text = "silent" if not gaps else f"longest gap {max(gaps):.2f} s"
        remedy = "look what keeps its machine busy (`top`): the navigator ends its goal with GUARD_LOST"
        return [fail("guard: heartbeat", "heartbeat", text, f"gaps below {_HEARTBEAT_GAP_S:.1f} s", remedy)]
    reason = str(getattr(traffic.newest, "reason", ""))
    text = f"{traffic.rate_hz:.1f} Hz" + (f", it says '{reason}'" if reason else "")
    return [ok("guard: heartbeat", text, f"gaps below {_HEARTBEAT_GAP_S:.1f} s")]


def _robots(s: GraphSnapshot) -> list[Finding]:
    names = {name: str(node.parameters["robot"]) for name, node in s.stack.items() if node.parameters.get("robot")}
    if s.robot.said_by == "--robot":
        names["--robot"] = s.robot.body.name
    different = {value.rsplit("/", 1)[-1].removesuffix(".yaml").removesuffix(".yml") for value in names.values()}
    text = ", ".join(f"{name}: {value}" for name, value in names.items())
    if len(different) > 1:
        remedy = (
            "start guard and navigator with the same `robot` (robot:=NAME): footprint and limits must be this robot's"
        )
        return [fail("robot", "two_robots", text, "one robot", remedy)]
    return [ok("robot", text, "one robot")] if names else []


def check_clock(s: GraphSnapshot) -> list[Finding]:
    """Return the findings on whose time it is."""
    item, publishers = "clock", s.publishers.get("/clock", ())
    uses = {
        node.name: bool(node.parameters["use_sim_time"])
        for node in s.stack.values()
        if "use_sim_time" in node.parameters
    }
    on, off = [name for name, sim in uses.items() if sim], [name for name, sim in uses.items() if not sim]
    if len(publishers) > 1:
        text = f"/clock has {len(publishers)} publishers: {_names(publishers)}"
        return [fail(item, "two_clocks", text, "one", "stop one of them: time jumps to and fro")]
    if publishers:
        by = _names(publishers)
        if not s.simulated:
            remedy = f"let the simulation run (unpause it), or stop {by}"
            return [fail(item, "clock_stands", f"/clock from {by} stands still", "a clock that runs", remedy)]
        if off:
            text = f"/clock comes from {by}, {', '.join(off)} do not use it"
            remedy = f"start {', '.join(off)} with `-p use_sim_time:=true` (use_sim_time:=true for the launch file)"
            return [fail(item, "clock_unused", text, "use_sim_time true", remedy)]
        return [ok(item, f"/clock from {by}", "use_sim_time true where /clock is")]
    if on:
        text = f"use_sim_time is true for {', '.join(on)}, and nobody publishes /clock: time stands at 0 there"
        remedy = "start them with `-p use_sim_time:=false` on a robot; start the simulator or ros_gz_bridge otherwise"
        return [fail(item, "no_clock", text, "/clock", remedy)]
    return [ok(item, "the system's", "use_sim_time true where /clock is")]


def check_commands(s: GraphSnapshot) -> list[Finding]:
    """Return the findings on cmd_vel: who listens, to which type, and who else drives."""
    topic, stamped = s.wanted["cmd_vel"].topic, s.needs.twist_stamped
    sent = TWIST_STAMPED if stamped else TWIST
    ours = {node.name for node in s.stack.values()}
    listeners = s.subscriptions.get(topic, ())
    return [*_masters(s, topic), *_masters_of_guard(s, ours), _listener(s, topic, sent, stamped, listeners)]


def _listener(s: GraphSnapshot, topic: str, sent: str, stamped: bool, listeners: tuple[Endpoint, ...]) -> Finding:
    item, expected = "cmd_vel: base", f"a base that listens to {sent}"
    fitting = [end for end in listeners if end.type == sent]
    others = [end for end in listeners if end.type != sent]
    if fitting:
        # The guard sends reliable and volatile.
        deaf = [end for end in fitting if end.transient_local]
        if deaf and len(deaf) == len(fitting):
            text = f"{_names(deaf)} asks for transient-local commands, which nobody sends"
            return fail(item, "qos_cmd_vel", text, "volatile", f"make {_names(deaf)} subscribe volatile")
        also = f"; {_names(others)} listens to another type in vain" if others else ""
        return ok(item, f"{_names(fitting)} listens to {topic}{also}", expected)
    if others:
        kind, use = others[0].type, str(not stamped).lower()
        text = f"{_names(others)} listens to {topic} as {kind}, the guard sends {sent}: no command arrives"
        remedy = f"make {_names(others)} take {sent}"
        if kind in (TWIST, TWIST_STAMPED):
            remedy = f"start the guard with `-p twist_stamped:={use}`"
        return fail(item, "cmd_vel_type", text, expected, remedy)
    near = [
        (other, end)
        for other, ends in sorted(s.subscriptions.items())
        for end in ends
        if end.type in (TWIST, TWIST_STAMPED) and other != topic and end.node.rsplit("/", 1)[1] not in STACK_NODES
    ]
    if near:
        other, end = min(near, key=lambda pair: ("cmd_vel" not in pair[0], len(pair[0])))
        use = "" if end.type == sent else f" and `-p twist_stamped:={str(end.type == TWIST_STAMPED).lower()}`"
        text = f"nobody listens to {topic}; {end.node} listens to {other} ({end.type})"
        return fail(item, "cmd_vel_near", text, expected, f"start the guard with `-r cmd_vel:={other}`{use}")
    text = f"nobody listens to {topic}"
    return fail(item, "cmd_vel_unheard", text, expected, "start the driver of the base")


def _masters(s: GraphSnapshot, topic: str) -> list[Finding]:
    guard = s.stack.get("guard")
    others = [end for end in s.publishers.get(topic, ()) if guard is None or end.node != guard.name]
    item, expected = "cmd_vel: masters", "the guard alone"
    if not others:
        return [ok(item, guard.name, expected)] if guard is not None else []
    commands, own = len(s.heard("cmd_vel").arrivals_s), len(s.heard("guard_status").arrivals_s)
    remap = f"remap its cmd_vel to {s.wanted['cmd_vel_nav'].topic} (TwistStamped), so that the guard judges it"
    # The guard sends a status with each of its commands. One that is active and was not heard leaves open whose they are.
    if commands - own > _UNEVEN_SHARE * own + _UNEVEN and (own or guard is None or guard.state != "active"):
        text = f"{_names(others)} drives by {topic}" + (" beside the guard" if guard is not None else "")
        remedy = (
            f"stop {_names(others)}, or {remap}; two masters make the robot stutter, and one of them is not guarded"
        )
        return [fail(item, "two_masters", text, expected, remedy)]
    text = f"{_names(others)} may publish {topic}, and sent nothing in {s.seconds:.1f} s"
    remedy = f"let it be silent while the stack drives, as a joystick's node is until its button is held; or {remap}"
    return [warn(item, "silent_master", text, expected, remedy)]


def _masters_of_guard(s: GraphSnapshot, ours: set[str]) -> list[Finding]:
    topic = s.wanted["cmd_vel_nav"].topic
    others = [end for end in s.publishers.get(topic, ()) if end.node not in ours]
    if others and "navigator" in s.stack:
        text = f"{_names(others)} publishes {topic} beside the navigator"
        remedy = f"give the navigator no goal while {_names(others)} drives: the guard takes whatever comes last"
        return [warn("cmd_vel_nav: masters", "two_navigators", text, "the navigator alone", remedy)]
    return []


def _names(ends: list[Endpoint] | tuple[Endpoint, ...]) -> str:
    return ", ".join(sorted({end.node for end in ends}))
