"""`mm-nav sim`, `demo` and `go` refuse what cannot be used before any node runs, and tell the nodes what was given."""

from __future__ import annotations

import pytest

from mm_nav.cli.main import main

pytest.importorskip("rclpy", reason="rclpy is not installed (make setup)")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--robots", "alpha,alpha"], "'alpha' is there twice"),
        (["--robots", "alpha,b-c"], "cannot be a ROS namespace"),
        (["--robots", "alpha,beta", "--robot", "generic,toaster"], "robot 'toaster' is not known"),
        (["--robots", "alpha,beta", "--robot", "generic,omni,jackal"], "3 robots, but there are 2"),
        (["--robot", "generic,omni"], "2 robots, but there are 1"),
        (["--robots", "alpha,beta", "--start", "2.2,3.4"], "--start has 1 poses for 2 robots"),
        (["--start", "2.2,3.4; 1,1"], "--start has 2 poses for 1 robots"),
        (["--start", "here"], "x,y,yaw for each robot"),
        (["--robots", "alpha,beta", "--start", "2.2,3.4; 2.3,3.4"], "where 'alpha' starts"),
        (["--robots", "alpha,beta", "--start", "2.2,3.4; 3.9,3.17"], "in 'brown_chair_1'"),
        (["--people", "-1"], "--people is -1"),
        (["--life", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_wrong_robots_are_refused(arguments, message, capsys, tmp_path):
    assert main(["sim", *arguments, "--logs", str(tmp_path)]) == 2
    output = capsys.readouterr().err
    assert message in output and len(output.splitlines()) == 1 and not list(tmp_path.iterdir())


def test_what_is_not_given_is_for_the_file_of_parameters(monkeypatch, tmp_path, capsys):
    from mm_nav.errors import MmNavError
    from mm_nav.ros import process_group

    seen = []

    def started(nodes, logs, parameters, robots):
        seen.append(parameters["simulator"])
        raise MmNavError("not now")

    monkeypatch.setattr(process_group, "ProcessGroup", started)
    structure = {"world", "robots", "robot", "starts"}
    for words in ([], ["--shadows"], ["--people", "0", "--seed", "0", "--rate", "1"]):
        assert main(["sim", *words, "--logs", str(tmp_path)]) == 2
    assert set(seen[0]) == structure
    assert set(seen[1]) == structure | {"shadows"} and seen[1]["shadows"] is True
    assert set(seen[2]) == structure | {"people", "seed", "rate"} and seen[2]["people"] == 0


def test_another_model_is_told_to_all_who_go_by_it(monkeypatch, tmp_path, capsys):
    """The navigator takes and refuses words by the model's manifest."""
    from mm_nav.errors import MmNavError
    from mm_nav.ros import process_group

    told = {}

    def started(nodes, logs, parameters, **_):
        told.update(parameters)
        raise MmNavError("not now")

    monkeypatch.setattr(process_group, "ProcessGroup", started)
    monkeypatch.setenv("ROS_DOMAIN_ID", "1")  # so that the demo's own does not stay
    model = tmp_path / "other.onnx"
    for words in (["sim"], ["demo", "--out", str(tmp_path)]):
        told.clear()
        assert main([*words, "--model", str(model)]) == 2
        names = {name for name, values in told.items() if values.get("model") == str(model)}
        assert names == {"inference", "navigator"}, words


@pytest.mark.parametrize("namespace", ["a b", "2nd", "a//b"])
def test_go_refuses_what_is_no_namespace(namespace, capsys):
    assert main(["go", "go to the red chair", "--namespace", namespace]) == 2
    assert "no ROS namespace" in capsys.readouterr().err


def test_go_says_where_it_looked(capsys):
    assert main(["go", "go to the red chair", "--namespace", "/alpha/", "--wait", "0.3"]) == 2
    assert "no navigator answered in the namespace /alpha within 0 s: start the stack" in capsys.readouterr().err


@pytest.mark.parametrize(("given", "sent"), [([], 0.0), (["--timeout", "20"], 20.0)])
def test_go_leaves_the_time_limit_to_the_navigator(given, sent, monkeypatch):
    from mm_nav.ros import goal_client

    asked = []

    def run(client, instruction, pose, timeout_s, *_, **__):
        asked.append(timeout_s)
        return goal_client.Outcome(goal_client.ErrorCode.NONE, "there")

    monkeypatch.setattr(goal_client.GoalClient, "wait", lambda client, seconds: True)
    monkeypatch.setattr(goal_client.GoalClient, "run", run)
    assert main(["go", "go to the red chair", *given]) == 0
    assert asked == [sent], "0 is the navigator's own"
