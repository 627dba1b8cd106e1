"""Each command end to end, on small inputs."""

from __future__ import annotations

import json

import pytest
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_typestore

from mm_nav.bags.writer import open_writer
from mm_nav.cli.main import main
from mm_nav.evaluation.episodes import EpisodeConfig, run_episode
from mm_nav.sim.episode import make_episode


def load(path):
    return json.loads(path.read_text())


def test_world_generate_and_check(tmp_path, capsys):
    world, report = tmp_path / "w.sdf", tmp_path / "r.json"
    assert main(["world", "generate", "--seed", "5", "--out", str(world), "--json", str(tmp_path / "g.json")]) == 0
    made = load(tmp_path / "g.json")
    assert made["seed"] == 5 and made["objects"]
    assert main(["world", "check", str(world), "--json", str(report), "--pictures", str(tmp_path)]) == 0
    data = load(report)
    assert data["missing"] == [] and data["models"] > len(made["objects"]) and len(data["pictures"]) == 2
    assert (tmp_path / "w_top.png").exists()
    first = world.read_bytes()
    main(["world", "generate", "--seed", "5", "--out", str(world)])
    assert world.read_bytes() == first


def test_world_that_lacks_a_model_is_status_1(tmp_path, capsys):
    world = tmp_path / "w.sdf"
    world.write_text(
        "<sdf version='1.9'><world name='w'><include><uri>model://no_such_model</uri></include></world></sdf>"
    )
    assert main(["world", "check", str(world)]) == 1
    assert "no_such_model" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["world", "check", "nowhere.sdf"],
        ["world", "generate", "--seed", "-1", "--out", "x.sdf"],
        ["evaluate", "language", "--episodes", "0", "--conditions", "oracle"],
        ["evaluate", "language", "--conditions", "telepathy"],
        ["evaluate", "language", "--conditions", "oracle", "--kinds", "song"],
        ["evaluate", "language", "--conditions", "oracle", "--camera", "wide"],
        ["evaluate", "language", "--conditions", "oracle", "--workers", "0"],
        ["evaluate", "language", "--conditions", "oracle", "--resume"],
        ["evaluate", "language", "--model", "nowhere.onnx"],
        ["evaluate", "language", "--conditions", "oracle", "--suite", "telepathy"],
        ["evaluate", "language", "--conditions", "oracle", "--suite", "swap"],
        ["evaluate", "language", "--conditions", "oracle", "--suite", "seen", "--kinds", "colour"],
        ["evaluate", "language", "--conditions", "oracle", "--phrases", "nowhere.txt"],
        ["evaluate", "swap", "--conditions", "oracle", "--pairs", "0"],
        ["evaluate", "language", "--conditions", "late_fusion", "--episodes", "1"],
        ["evaluate", "language", "--conditions", "oracle", "--variant", "late_fusion=nowhere.onnx"],
        ["evaluate", "ablation", "--conditions", "telepathy"],
        ["evaluate", "ablation", "--conditions", "late_fusion"],
        ["evaluate", "ablation", "--conditions", "oracle", "--suites", "swap"],
        ["evaluate", "ablation", "--conditions", "oracle", "--suites", "seen,telepathy"],
        ["evaluate", "ablation", "--conditions", "oracle", "--resume"],
        ["evaluate", "ablation", "--model", "nowhere.onnx"],
        ["replay", "nowhere.bag", "--topic", "scan"],
        ["replay", "nowhere.bag", "--goal-pose", "here"],
        ["collect", "--config", "nowhere.yaml"],
        ["collect", "--seed", "9999", "--worlds", "2"],
        ["collect", "--workers", "0"],
        ["dagger", "--seed", "9999", "--worlds", "2"],
        ["dagger", "--model", "nowhere.onnx"],
        ["dagger", "--beta", "2"],
        ["evaluate", "swap", "--workers", "0"],
    ],
)
def test_wrong_input_is_status_2_with_a_reason(arguments, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("mm-nav: error: ") and error.count("\n") == 1 and len(error) > 40


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("calibrate x.mcap --dictionary nonsense", "--dictionary is of ChArUco boards"),
        ("calibrate x.mcap --marker 0.05", "--marker is of ChArUco boards"),
        ("calibrate --print-board b.pdf --yaml c.yaml", "--yaml is of a calibration"),
        ("calibrate --print-board b.pdf --no-guess", "--no-guess is of a calibration"),
        ("replay x.mcap --no-policy --model x.onnx", "--model is the policy, which --no-policy does not ask"),
        ("replay x.mcap --logs out", "--logs is for the nodes of --realtime"),
        ("evaluate barn --worlds x.npz --beside y.json", "--beside draws runs in a report"),
        ("evaluate language --conditions oracle --model x.onnx", "--model is run by none of the conditions oracle"),
        ("evaluate swap --variant late_fusion=w.sdf", "--variant is for late_fusion, which is none of the conditions"),
        (
            "evaluate ablation --conditions full,oracle --variant no_dagger=w.sdf",
            "--variant is for no_dagger, which is none of the conditions",
        ),
        ("robot model jackal --urdf b.urdf --gazebo harmonic", "--gazebo is of the Gazebo model: give --sdf"),
        ("robot model jackal --index 0", "--index is of the Gazebo model: give --sdf"),
        ("robot model jackal --urdf b.urdf --namespace a", "--namespace is of the Gazebo model and the bridge"),
        ("robot model jackal --sdf b --urdf b", "two of --sdf, --urdf and --bridge are one file"),
        ("bench latency --minutes 0 --logs out", "--logs is for the nodes, which --minutes 0 does not start"),
    ],
)
def test_options_that_another_one_makes_useless_are_refused(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.sdf").touch()
    assert main(arguments.split()) == 2
    error = capsys.readouterr().err
    assert f"mm-nav: error: {said}" in error and error.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["w.sdf"]


@pytest.mark.parametrize("command", ["export x.pt", "quantize x.onnx --data x"])
@pytest.mark.parametrize("option", ["--seed 0", "--workers 2", "--ray local"])
def test_options_of_episodes_need_episodes(command, option, capsys):
    pytest.importorskip("torch")
    assert main([*command.split(), *option.split()]) == 2
    assert f"{option.split()[0]} is of the episodes that both models drive" in capsys.readouterr().err


def test_pictures_of_a_world_are_wanted_or_not():
    with pytest.raises(SystemExit):
        main(["world", "check", "x.sdf", "--pictures", "out", "--no-pictures"])


def test_evaluate_language(tmp_path, capsys):
    out = tmp_path / "e.json"
    arguments = ["evaluate", "language", "--episodes", "2", "--seed", "10005", "--conditions", "oracle"]
    arguments += ["--time-limit", "20", "--workers", "1", "--json", str(out), "--report", str(tmp_path / "report")]
    assert main(arguments) == 0
    data = load(out)
    for key in ("success_rate", "spl", "collision_rate"):
        assert 0 <= data[key] <= 1 and len(data[f"{key}_ci95"]) == 2
    assert data["episodes"] == 2 and data["seed"] == 10_005 and data["wall_s"] > 0
    assert "oracle" in capsys.readouterr().out
    assert (tmp_path / "report" / "report.md").exists()
    # All is done: resuming runs nothing and says the same.
    assert main([*arguments, "--resume"]) == 0
    again = load(out)
    assert {**again, "wall_s": 0} == {**data, "wall_s": 0}


def test_seeds_of_training_are_warned_about(tmp_path, capsys):
    arguments = ["evaluate", "language", "--episodes", "1", "--seed", "12", "--conditions", "oracle"]
    assert main([*arguments, "--time-limit", "0.5", "--workers", "1"]) == 0
    assert "not held out" in capsys.readouterr().err


def test_evaluate_suite_in_other_peoples_words(tmp_path, capsys):
    phrases, out = tmp_path / "p.txt", tmp_path / "e.json"
    phrases.write_text("off you trot to the {object}\n")
    arguments = ["evaluate", "language", "--phrases", str(phrases), "--episodes", "1", "--seed", "5000"]
    assert (
        main([*arguments, "--conditions", "oracle", "--time-limit", "0.5", "--workers", "1", "--json", str(out)]) == 0
    )
    data = load(out)
    assert data["suite"] == "seen" and data["phrases"] == 1 and data["episodes"] == 1
    log = (tmp_path / "e.json.episodes.jsonl").read_text()
    assert "off you trot to the " in log and "to the the" not in log
    assert "suite seen, 1 episodes, seeds 5000 to 5000" in capsys.readouterr().out


def test_evaluate_swap(tmp_path, capsys):
    out = tmp_path / "s.json"
    arguments = ["evaluate", "swap", "--pairs", "1", "--seed", "5000", "--conditions", "oracle", "--time-limit", "0.5"]
    assert main([*arguments, "--workers", "1", "--json", str(out)]) == 0
    data = load(out)
    assert data["suite"] == "swap" and data["swap_rate"] == 0.0 and len(data["swap_rate_ci95"]) == 2
    assert data["pairs"] == 1 and data["episodes"] == 2
    assert "of 1 pairs" in capsys.readouterr().out


def test_evaluate_ablation(tmp_path, capsys):
    pytest.importorskip("jinja2")
    out, report = tmp_path / "a.json", tmp_path / "report"
    arguments = ["evaluate", "ablation", "--conditions", "oracle,expert,no_dagger", "--episodes", "1", "--seed", "5000"]
    arguments += ["--suites", "seen,sequence", "--time-limit", "1", "--camera", "32x24", "--workers", "1"]
    arguments += ["--json", str(out), "--report", str(report)]
    assert main(arguments) == 0
    data = load(out)
    assert data["condition"] == "oracle" and data["conditions"] == ["oracle", "expert"]
    assert data["not_run"] == ["no_dagger"] and data["comparisons"] == 2
    assert data["expert_episodes"] == data["sequence_expert_episodes"] == 1 and data["p_holm_expert"] == 1.0
    shown = capsys.readouterr()
    assert "suite sequence, 1 episodes" in shown.out and "not run: no_dagger" in shown.err
    assert "sequence" in (report / "ablation.html").read_text() and (report / "ablation.md").exists()
    assert main([*arguments, "--resume"]) == 0
    assert {**load(out), "wall_s": 0} == {**data, "wall_s": 0}


def test_bench_latency(tmp_path, capsys):
    pytest.importorskip("torch", reason="torch is not installed (make setup-train)")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (make setup-train)")
    out = tmp_path / "b.json"
    assert main(["bench", "latency", "--seconds", "0.05", "--minutes", "0", "--json", str(out)]) == 0
    data = load(out)
    assert {
        "tiny_p50_ms",
        "small_p50_ms",
        "tiny_rivals_p50_ms",
        "tiny_2_threads_p99_ms",
        "preprocess_p50_ms",
    } <= set(data)
    assert data["ratio_vint_like"] == data["ratio_vint_like_tiny"] > 0.0
    assert 15e6 < data["vint_like_parameters"] < 30e6  # ViNT has 31 M with its decoder
    assert "ViNT" in capsys.readouterr().out
    assert main(["bench", "latency", "--minutes", "-1"]) == 2
    assert main(["bench", "governor", "--load", "0"]) == main(["bench", "images", "--seconds", "0"]) == 2


def test_shapes(tmp_path, capsys):
    out = tmp_path / "s.json"
    assert main(["shapes", "--worlds", "10", "--out", str(out), "--json", str(tmp_path / "r.json")]) == 0
    assert load(tmp_path / "r.json")["worlds"] == 10 and "by chance" in capsys.readouterr().out
    assert main(["shapes", "--worlds", "3", "--out", str(out)]) == 2


def test_profile(tmp_path, capsys):
    out = tmp_path / "p.json"
    assert main(["profile", "tiny", "--device", "orin-nano", "--runs", "2", "--phrases", "1", "--json", str(out)]) == 0
    data = load(out)
    assert data["device"] == "orin-nano" and data["precision"] == "fp16" and data["deadline_ms"] == 66.0
    assert data["estimate_ms"] > data["estimate_bound_ms"] > 0.0 and data["measured_p50_ms"] > 0.0
    assert data["parameters"] > 1e6 and data["flops"] > 1e8 and data["measured_ms_Gemm"] > 0.0
    shown = " ".join(capsys.readouterr().out.split())
    assert "ESTIMATE for orin-nano" in shown and "Not measured" in shown
    assert main(["profile", "tiny", "--precision", "int8"]) == 2
    assert "give --device" in capsys.readouterr().err


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("bags") / "drive"
    episode, task = make_episode(10_001, "pose")
    with open_writer(path) as writer:
        run_episode(
            episode,
            task,
            lambda _: None,
            EpisodeConfig(time_limit_s=4.0),
            lambda s: writer.add(s.observation, s.driven),
        )
    return path


@pytest.mark.parametrize("goal", [[], ["--goal-from-end"], ["--goal-pose", "3.5,-1.0"]])
def test_replay(bag, tmp_path, capsys, goal):
    out = tmp_path / "r.json"
    assert main(["replay", str(bag), *goal, "--json", str(out), "--report", str(tmp_path / "report")]) == 0
    data = load(out)
    assert data["steps"] == 41 and data["modalities"] == ["image", "scan"]
    assert {"guard_stops", "latency_p50_ms", "latency_p99_ms", "warnings", "realtime_factor", "duration_s"} <= set(data)
    assert (tmp_path / "report" / "report.html").stat().st_size > 10_000
    assert "41 steps" in capsys.readouterr().out


def test_replay_of_several_and_their_comparison(bag, tmp_path, capsys):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(b"no recording")
    assert main(["replay", str(bag), str(bag), str(broken), "--goal-every", "1", "--json", str(first)]) == 0
    data = load(first)
    assert data["steps"] == 82 and len(data["recordings"]) == 2 and str(broken) in data["warnings"][0]
    assert "2 recordings together" in capsys.readouterr().out
    assert main(["replay", str(bag), str(bag), "--goal-every", "1", "--no-policy", "--json", str(second)]) == 0
    assert load(second)["windows"]["policy_ade_2s_m"] == [None] * len(load(second)["windows"]["ade_2s_m"])
    assert main(["replay", "compare", str(first), str(second)]) == 0
    assert main(["replay", "compare", str(first), str(tmp_path / "none.json")]) == 2


def test_replay_of_what_is_damaged(bag, tmp_path, capsys):
    whole = next(bag.glob("*.mcap")).read_bytes()
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole[: int(0.6 * len(whole))])
    out = tmp_path / "r.json"
    assert main(["replay", str(cut), "--json", str(out)]) == 0
    warnings = " ".join(load(out)["warnings"])
    assert 15 < load(out)["steps"] < 41 and "cut.mcap" in warnings and "byte" in warnings
    cut.write_bytes(whole[:100])
    assert main(["replay", str(cut)]) == 2
    assert "cut.mcap" in capsys.readouterr().err


def test_replay_writes_outputs_for_other_tools(bag, tmp_path):
    out = tmp_path / "outputs.mcap"
    assert main(["replay", str(bag), "--mcap", str(out)]) == 0
    with AnyReader([out], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
        topics = {connection.topic: connection.msgcount for connection in reader.connections}
    assert topics["/replay/cmd_vel"] == 41 and "/replay/errors/ade_1s_m" in topics and "/tf" not in topics
    assert main(["replay", str(bag), str(bag), "--mcap", str(out)]) == 2


def test_replay_with_a_topic_that_is_not_there(bag, capsys):
    assert main(["replay", str(bag), "--topic", "scan=/rear/scan"]) == 2
    assert "/scan" in capsys.readouterr().err


def test_goals_exclude_one_another(bag):
    with pytest.raises(SystemExit) as ended:
        main(["replay", str(bag), "--goal", "go to the red box", "--goal-from-end"])
    assert ended.value.code == 2
