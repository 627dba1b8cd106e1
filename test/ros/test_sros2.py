"""config/sros2/policies.xml allows what the nodes use, and nothing else; who asks for security does not get a node without."""

import importlib
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from xml.etree import ElementTree

import pytest
import rclpy
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node

from mm_nav.ros import node_list
from mm_nav.ros.drive_monitor import DriveMonitor
from mm_nav.ros.goal_client import GoalClient
from mm_nav.ros.node_list import EMBEDDED, NodeSpec
from mm_nav.ros.recorder import stack_topics
from mm_nav.ros.topics import topics

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "security.md"
POLICIES = ROOT / "config" / "sros2" / "policies.xml"
NODES = (*EMBEDDED, *filter(None, (getattr(node_list, "NAV2_BRIDGE", None),)))
# Who may do what with lists of names, as sros2's policy.xsd has it.
VERBS = {"topics": ("publish", "subscribe"), "services": ("reply", "request"), "actions": ("execute", "call")}
# What makes up an action: https://design.ros2.org/articles/actions.html
ACTION_SERVICES, ACTION_TOPICS = ("send_goal", "cancel_goal", "get_result"), ("feedback", "status")
# Parameters (and remappings) with which a node uses all that it can use, and the names that it then does without.
VARIANTS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "guard": (("points:=false", ("points",)), ("points:=true", ("scan",))),
    "inference": (
        ("compressed:=false", ("image/compressed", "points")),
        ("compressed:=true", ("image", "points")),
        ("points:=true", ("image/compressed", "scan")),
    ),
    "navigator": (
        ("points:=false", ("points", "tf", "navigator/map")),
        ("points:=true", ("scan", "tf", "navigator/map")),
        # As the launch file has it: `map` is that of the localisation.
        ("localization:=true -r map:=navigator/map", ("points", "map")),
    ),
    "simulator": (("robot:=jackal", ()),),
    "nav2_bridge": (("stand_in:=true", ()),),
}
DOMAINS = itertools.cycle(range(110, 200))
# Came with ROS 2 Jazzy.
NEWER = "get_type_description"

Rule = tuple[str, str]


def policy(namespace: str = "/") -> dict[str, set[Rule]]:
    """Return what each enclave may do: (verb, full name), after the replacement that docs/security.md gives for a namespace."""
    assert namespace in ("/", "/alpha")
    text = POLICIES.read_text() if namespace == "/" else replaced("/alpha")
    found: dict[str, set[Rule]] = {}
    for enclave in ElementTree.fromstring(text).iter("enclave"):
        rules = found.setdefault(enclave.attrib["path"], set())
        for profile in enclave.iter("profile"):
            for group in profile:
                for item in group:
                    name = full_name(item.text or "", profile.attrib["ns"], profile.attrib["node"])
                    rules |= {(verb, name) for verb in group.attrib}
    return found


def replaced(what: str) -> str:
    """Return the policy after the replacements of docs/security.md that have `what` in them."""
    commands = [found for found in re.findall(r"^sed '(.*?)' ", GUIDE.read_text(), re.MULTILINE) if what in found]
    assert len(commands) == 1
    return subprocess.run(["sed", commands[0], str(POLICIES)], capture_output=True, text=True, check=True).stdout


def full_name(name: str, namespace: str, node: str) -> str:
    """Return a name as sros2's permissions.xsl resolves it."""
    space = namespace if namespace.endswith("/") else f"{namespace}/"
    if name.startswith("/"):
        return name
    return space + (f"{node}{name[1:]}" if name.startswith("~") else name)


def used(node: Node) -> set[Rule]:
    """Return what the ROS graph says that a node does, actions as actions."""
    name, namespace = node.get_name(), node.get_namespace()
    asked: dict[str, Callable[[str, str], list[tuple[str, list[str]]]]] = {
        "publish": node.get_publisher_names_and_types_by_node,
        "subscribe": node.get_subscriber_names_and_types_by_node,
        "reply": node.get_service_names_and_types_by_node,
        "request": node.get_client_names_and_types_by_node,
    }
    rules = {(verb, topic) for verb, ask in asked.items() for topic, _ in ask(name, namespace)}
    for verb, services, streams in (("execute", "reply", "publish"), ("call", "request", "subscribe")):
        for action in {
            topic.split("/_action/")[0] for kind, topic in rules if kind == services and "/_action/" in topic
        }:
            parts = {(services, f"{action}/_action/{part}") for part in ACTION_SERVICES}
            parts |= {(streams, f"{action}/_action/{part}") for part in ACTION_TOPICS}
            rules = (rules - parts) | {(verb, action)} if parts <= rules else rules
    return rules


def settled(node: Node, enough: Callable[[set[Rule]], bool]) -> set[Rule]:
    """Return what a node does, once that is enough, or after 10 s: the graph is told later, on a busy machine much later."""
    until = time.monotonic() + 10.0
    while not enough(rules := used(node)) and time.monotonic() < until:
        time.sleep(0.02)
    return rules


def rules_of(spec: NodeSpec, *arguments: str, wanted: set[Rule]) -> set[Rule]:
    """Return what a node does when it is active, in simulated time, in all variants of its parameters. wanted: by the policy."""
    module = importlib.import_module(spec.module)
    cls = next(v for k, v in vars(module).items() if k.endswith("Node") and getattr(v, "__module__", "") == spec.module)
    rules: set[Rule] = set()
    for variant, without in VARIANTS.get(spec.name, (("autostart:=false", ()),)):
        expected = without_newer(
            {rule for rule in wanted if rule[1].removeprefix("/alpha").removeprefix("/") not in without}
        )
        # Where no node of that name has been a moment ago: the graph forgets late.
        given = ["--ros-args", "-p", "use_sim_time:=true", "-p", *variant.split(), *arguments]
        rclpy.init(args=given, domain_id=next(DOMAINS))
        try:
            node = cls()
            assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
            rules |= settled(node, lambda found, expected=expected: without_newer(found) == expected)  # type: ignore[misc]
            node.trigger_deactivate()
            node.destroy_node()
        finally:
            rclpy.shutdown()
    return rules


def without_newer(rules: set[Rule]) -> set[Rule]:
    return {rule for rule in rules if not rule[1].endswith(NEWER)}


def test_the_file_is_a_policy_of_sros2() -> None:
    """The rules of sros2/policy/schemas/policy.xsd, version 0.2.0."""
    root = ElementTree.parse(POLICIES).getroot()
    assert root.tag == "policy" and root.attrib == {"version": "0.2.0"}
    assert [child.tag for child in root] == ["enclaves"]
    # `ros2 security generate_artifacts` takes a comment between the enclaves for one of them.
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    with_comments = ElementTree.parse(POLICIES, parser).getroot().find("enclaves")
    assert with_comments is not None and {child.tag for child in with_comments} == {"enclave"}
    paths = [enclave.attrib["path"] for enclave in root[0]]
    assert len(set(paths)) == len(paths) and all(re.fullmatch(r"(/[a-z][a-z0-9_]*)+", path) for path in paths)
    for enclave in root[0]:
        assert enclave.tag == "enclave" and [child.tag for child in enclave] == ["profiles"]
        for profile in enclave[0]:
            assert profile.tag == "profile" and set(profile.attrib) == {"ns", "node"}
            for group in profile:
                assert set(group.attrib) <= set(VERBS[group.tag]) and set(group.attrib.values()) == {"ALLOW"}
                names = [item.text or "" for item in group]
                assert names and all(item.tag == group.tag.removesuffix("s") for item in group)
                assert len(set(names)) == len(names), f"{enclave.attrib['path']} names something twice"


def test_every_node_has_an_enclave_and_no_other_has() -> None:
    nodes = {f"/mm_nav/{spec.name}" for spec in NODES}
    assert set(policy()) == nodes | {"/mm_nav/tools", "/mm_nav/operator"}
    assert set(re.findall(r"^\| `(/mm_nav/\w+)` \|", GUIDE.read_text(), re.MULTILINE)) == set(policy())


def test_the_launch_process_gets_the_rights_of_the_operator() -> None:
    """Its enclave is that of whoever is started without one."""
    ours, launch = (ElementTree.fromstring(text) for text in (POLICIES.read_text(), replaced("operator")))
    operator, root = ours.find(".//enclave[@path='/mm_nav/operator']"), launch.find(".//enclave[@path='/']")
    assert operator is not None and root is not None
    assert [item.text for item in root.iter()] == [item.text for item in operator.iter()]


@pytest.mark.parametrize("spec", NODES, ids=lambda spec: spec.name)
def test_a_node_may_do_what_it_does_and_nothing_else(spec: NodeSpec) -> None:
    if spec.name == "nav2_bridge":
        pytest.importorskip("nav2_msgs.action", reason="nav2_msgs is not there (make setup)")
    wanted = policy()[f"/mm_nav/{spec.name}"]
    allowed, rules = without_newer(wanted), without_newer(rules_of(spec, wanted=wanted))
    assert sorted(rules - allowed) == [], "the node does this, and the policy does not allow it"
    assert sorted(allowed - rules) == [], "the policy allows this, and the node never does it"


def test_a_robot_with_a_namespace_keeps_to_it() -> None:
    """With the remappings that the launch files give: one tree of frames for each robot."""
    allowed = without_newer(policy("/alpha")["/alpha/mm_nav/guard"])
    tree = ("-r", "/tf:=tf", "-r", "/tf_static:=tf_static")
    rules = rules_of(EMBEDDED[1], "-r", "__ns:=/alpha", *tree, wanted=policy("/alpha")["/alpha/mm_nav/guard"])
    assert EMBEDDED[1].name == "guard" and without_newer(rules) == allowed
    assert {name for _, name in allowed if not name.startswith("/alpha/")} == {
        "/clock", "/diagnostics", "/parameter_events", "/rosout"
    }  # fmt: skip


def test_only_the_guard_writes_the_wheels_commands() -> None:
    writers = {path for path, rules in policy().items() if ("publish", f"/{topics().cmd_vel}") in rules}
    assert writers == {"/mm_nav/guard"}


def test_tools_may_listen_to_all_and_change_nothing() -> None:
    allowed = policy()["/mm_nav/tools"]
    rclpy.init(args=["--ros-args", "-p", "use_sim_time:=true"])
    try:
        node = rclpy.create_node("mm_nav_demo")
        client, monitor = GoalClient(node), DriveMonitor(node)
        rules = settled(node, lambda found: {("call", "/navigate_to"), ("subscribe", "/diagnostics")} <= found)
        rules |= {("subscribe", name) for name in stack_topics(node)}
        assert client is not None and monitor is not None
        node.destroy_node()
    finally:
        rclpy.shutdown()
    refused = {rule for rule in rules if not any(rule[0] == v and fnmatchcase(rule[1], name) for v, name in allowed)}
    assert sorted(refused) == []
    nodes = [
        rule for path, some in policy().items() if path not in ("/mm_nav/tools", "/mm_nav/operator") for rule in some
    ]
    written, served = ({name for verb, name in nodes if verb == kind} for kind in ("publish", "reply"))
    # What is listened to or asked is what some node of the stack has to offer, or the robot's camera.
    camera = {f"/{topics().image}/compressed", "/parameter_events", "/rosout"}
    assert {name for verb, name in allowed if verb == "subscribe"} == written | camera
    asked = {name for verb, name in allowed if verb == "request"}
    assert asked <= served
    assert not {name for name in asked if re.search(r"/(change_state|set_parameters\w*|load_model)$", name)}
    assert {name for verb, name in allowed if verb == "call"} == {name for verb, name in nodes if verb == "execute"}
    assert {name for verb, name in allowed if verb == "publish"} == {"/parameter_events", "/rosout"}
    assert {name for verb, name in policy()["/mm_nav/operator"] if verb == "request"} == served


def test_a_node_that_cannot_be_secured_does_not_start(tmp_path: Path) -> None:
    """No keys, or a middleware that was built without security, as that of the wheels: either way nothing runs in the open."""
    environment = {**os.environ, "ROS_SECURITY_ENABLE": "true", "ROS_SECURITY_STRATEGY": "Enforce",
                   "ROS_SECURITY_KEYSTORE": str(tmp_path)}  # fmt: skip
    command = [sys.executable, "-m", "mm_nav.ros.guard_node", "--ros-args", "--enclave", "/mm_nav/guard"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert result.returncode != 0 and "active" not in result.stdout + result.stderr
    assert re.search("security", result.stderr, re.IGNORECASE), result.stderr
