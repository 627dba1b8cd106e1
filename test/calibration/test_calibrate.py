"""Calibrations of simulated recordings whose truth is known, and what is said of recordings that are of no use."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).parent))
from board_drive import CHARUCO, CHESSBOARD, board_at, board_poses, record, robot

from mm_nav.bags.mounts import OPTICAL
from mm_nav.bags.writer import open_writer
from mm_nav.calibration.advice import advice_on, poor_directions
from mm_nav.calibration.board import Board
from mm_nav.calibration.calibrate import CalibrationOptions, calibrate
from mm_nav.calibration.outcome import as_urdf, as_yaml, outcome_of
from mm_nav.calibration.picture import draw_calibration
from mm_nav.cli import calibrate as command
from mm_nav.config_file import from_mapping
from mm_nav.errors import BagError, ConfigError
from mm_nav.sim.camera import CameraConfig
from mm_nav.sim.simulator import Simulator
from mm_nav.sim.world import parse_world

FRAMES = 5


def errors_of(calibration, truth):
    """Return the turn (3,) degrees and the shift (3,) cm from the truth, and the standard deviations of both."""
    found, true, sigma = calibration.solution.lidar_T_camera, truth.lidar_T_camera, calibration.solution.deviation
    turn = Rotation.from_matrix(found[:3, :3] @ true[:3, :3].T).as_rotvec()
    error = np.r_[np.degrees(turn), 100 * (found[:3, 3] - true[:3, 3])]
    return error, np.r_[np.degrees(sigma[:3]), 100 * sigma[3:6]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("calibration")


@pytest.fixture(scope="module")
def planar(folder):
    truth = robot(1, samples=1)
    poses = board_poses(np.random.default_rng(11), 10, near=1.1, far=2.0)
    return record(folder / "planar", truth, poses, frames=FRAMES, seed=1), truth


@pytest.fixture(scope="module")
def found(planar):
    return calibrate(planar[0], CHESSBOARD)


def test_a_planar_lidar(planar, found):
    _, truth = planar
    error, sigma = errors_of(found, truth)
    assert np.linalg.norm(error[3:]) < 2.5 and np.linalg.norm(error[:3]) < 1.0
    assert (np.abs(error) < 4 * sigma).all() and sigma[3:].max() < 1.5
    outcome = outcome_of(found)
    assert outcome.moved_m > 0.04 and outcome.turned_rad > 0.03
    # The base is higher than the LiDAR: what is told is the camera's body in the base.
    assert outcome.body.parent == "base_link" and outcome.body.xyz[2] == pytest.approx(0.34, abs=0.03)
    assert outcome.body.rpy == pytest.approx((0.0, 0.0, 0.0), abs=0.03)
    assert outcome.edge.parent == "base_link" and outcome.edge.child == "camera_optical"
    assert outcome.offset_s is None  # nothing moved
    assert found.solution.rms_m == pytest.approx(0.01, rel=0.3)
    picture = draw_calibration(found)
    green = (picture[..., 1] > 200) & (picture[..., 0] < 120) & (picture[..., 2] < 120)
    assert picture.shape[1] == 2 * 640 + 4 and green[:, 644:].sum() > 300


def test_without_any_first_guess(planar):
    path, truth = planar
    found = calibrate(path, CHESSBOARD, CalibrationOptions(use_claimed=False))
    error, sigma = errors_of(found, truth)
    assert (np.abs(error) < 4 * sigma).all() and np.linalg.norm(error[3:]) < 2.5


def test_the_written_yaml_and_urdf_mean_the_found_pose(found):
    outcome = outcome_of(found)
    written = yaml.safe_load(as_yaml(found, outcome))
    camera = from_mapping(CameraConfig, written["camera"], "camera")
    wanted = found.base_T_lidar @ found.solution.lidar_T_camera
    assert np.allclose(camera.base_T_camera(), wanted, atol=2e-4)
    joint = ElementTree.fromstring(as_urdf(outcome))
    origin = joint.find("origin")
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("xyz", [float(v) for v in origin.get("rpy").split()]).as_matrix()
    pose[:3, 3] = [float(v) for v in origin.get("xyz").split()]
    assert joint.find("child").get("link") == "camera_optical" and np.allclose(pose, wanted, atol=1e-5)
    assert np.allclose(wanted[:3, :3] @ OPTICAL[:3, :3].T, np.eye(3), atol=0.03)


def test_squares_that_were_measured_wrongly_are_found_out(planar):
    path, _ = planar
    with pytest.raises(ConfigError, match=r"more likely (79|80|81)\.\d mm"):
        calibrate(path, replace(CHESSBOARD, square_m=0.086))


def test_a_board_that_is_not_there(planar):
    path, _ = planar
    with pytest.raises(BagError, match=r"none of \d+ pictures on \S+ shows the board"):
        calibrate(path, Board(12, 9, 0.05))


def test_a_3d_lidar(folder):
    truth = robot(2, cloud=True, samples=1)
    poses = board_poses(np.random.default_rng(4), 6, near=1.1, far=1.8, height=(0.35, 0.5))
    # As an old recorder writes it: ROS 1, compressed pictures.
    path = record(folder / "cloud.bag", truth, poses, frames=FRAMES, seed=2, storage="ros1", jpeg_quality=92)
    found = calibrate(path, CHESSBOARD)
    error, sigma = errors_of(found, truth)
    assert not found.is_planar and np.linalg.norm(error[3:]) < 1.0 and np.linalg.norm(error[:3]) < 0.5
    assert (np.abs(error) < 4 * sigma).all()


def test_a_moving_charuco_board_tells_how_far_the_clocks_are_apart(folder):
    truth = robot(3, samples=1, board=CHARUCO)
    near, far = board_at((1.1, 0.1, 0.3), 0.3, 0.3), board_at((1.7, -0.2, 0.35), -0.4, -0.3, 0.3)
    poses = [near, far, board_at((1.2, -0.1, 0.3), -0.2, 0.5, -0.3), board_at((1.8, 0.2, 0.3), 0.4, 0.1)]
    path = record(folder / "moving", truth, [*poses, near], frames=FRAMES, seed=3, moving=8, late_ns=40_000_000)
    found = calibrate(path, CHARUCO)
    outcome = outcome_of(found)
    assert outcome.offset_s == pytest.approx(0.040, abs=4 * outcome.offset_deviation_s)
    assert outcome.offset_deviation_s < 0.006
    assert any("40 ms" in text or "later" in text for text in advice_on(found, outcome))
    without = calibrate(path, CHARUCO, CalibrationOptions(offset=False))
    assert outcome_of(without).offset_s is None and np.isnan(outcome_of(without).offset_deviation_s)


def test_upright_boards_leave_the_height_open_and_that_is_said(folder):
    truth = robot(5, samples=1)
    poses = board_poses(np.random.default_rng(5), 7, tilt=0.0, roll=0.0, near=1.1)
    poses = [board_at(pose[:3, 3], 0.0, 0.5 * (-1) ** k) for k, pose in enumerate(poses)]
    path = record(folder / "upright", truth, poses, frames=FRAMES, seed=5)
    found = calibrate(path, CHESSBOARD)
    poor = poor_directions(found)
    assert any(text.startswith("z (up)") for text in poor)
    assert not any(text.startswith("turning about z") for text in poor)
    assert any("tilt the board's top" in text for text in advice_on(found, outcome_of(found)))
    error, sigma = errors_of(found, truth)
    assert (np.abs(error) < 4 * sigma).all() and np.abs(error[3]) < 2


def run(*arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(a) for a in arguments]))


def test_the_command(planar, tmp_path, capsys):
    path, _ = planar
    status = run(
        path, "--board", "5x7", "--picture", tmp_path / "p.png", "--json", tmp_path / "r.json", "--yaml",
        tmp_path / "c.yaml", "--urdf-snippet",
    )  # fmt: skip
    out = capsys.readouterr().out
    data = json.loads((tmp_path / "r.json").read_text())
    assert status == (1 if data["poorly_determined"] else 0)
    assert "static_transform_publisher" in out and "<joint" in out and "/tf_static" in out
    assert data["views_used"] >= 8 and data["body_z_m"] == pytest.approx(0.34, abs=0.03)
    assert cv2.imread(str(tmp_path / "p.png")) is not None and "camera:" in (tmp_path / "c.yaml").read_text()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["c.yaml", "p.png", "r.json"]


def test_the_command_prints_a_board_alone(tmp_path, capsys):
    assert run("--print-board", tmp_path / "b.pdf", "--charuco", "8x6", "--square", "0.03") == 0
    assert "--charuco 8x6 --square 0.03 --marker 0.0225" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="no recording"):
        run()
    with pytest.raises(ConfigError, match="--charuco"):
        run("x.mcap", "--marker", "0.05")
    with pytest.raises(ConfigError, match="--border"):
        run("x.mcap", "--border", "wide")


@pytest.mark.parametrize("size", ["7x5", "5x7"])
def test_a_border_is_turned_with_its_board(size, tmp_path, monkeypatch):
    printed = []
    monkeypatch.setattr("mm_nav.calibration.printing.print_board", lambda board, _: printed.append(board) or (1.0, 1.0))
    border = "0.05,0.02" if size == "7x5" else "0.02,0.05"
    assert run("--print-board", tmp_path / "b.pdf", "--board", size, "--border", border) == 0
    assert (printed[0].columns, printed[0].rows, printed[0].border_m) == (8, 6, (0.05, 0.02))


def empty_drive(path, change):
    world = parse_world("<sdf version='1.9'><world name='w'/></sdf>")
    simulator = Simulator(world, replace(robot(0, width=64, samples=1).config))
    with open_writer(path) as writer:
        for _ in range(3):
            writer.add(change(simulator.observe()))
            simulator.time_ns += 100_000_000
    return path


def test_recordings_of_no_use_are_told_why(tmp_path, planar):
    with pytest.raises(BagError, match="does not exist"):
        calibrate(tmp_path / "nowhere.mcap", CHESSBOARD)
    (tmp_path / "broken.mcap").write_bytes(b"no recording at all, whatever its name says")
    with pytest.raises(BagError):
        calibrate(tmp_path / "broken.mcap", CHESSBOARD)
    blind = empty_drive(tmp_path / "blind", lambda o: replace(o, image=None))
    with pytest.raises(BagError, match="has no pictures"):
        calibrate(blind, CHESSBOARD)
    deaf = empty_drive(tmp_path / "deaf", lambda o: replace(o, scan=None))
    with pytest.raises(BagError, match="no LaserScan or PointCloud2"):
        calibrate(deaf, CHESSBOARD)
    nothing = empty_drive(tmp_path / "nothing", lambda o: o)
    with pytest.raises(BagError, match="none of 3 pictures"):
        calibrate(nothing, CHESSBOARD)
    with pytest.raises(BagError, match="no scan messages on '/rear'"):
        calibrate(planar[0], CHESSBOARD, CalibrationOptions(lidar="/rear", kind="scan"))
    with pytest.raises(BagError, match="no image messages on '/thermal'"):
        calibrate(planar[0], CHESSBOARD, CalibrationOptions(image="/thermal"))
    with pytest.raises(ConfigError, match="--base-frame"):
        calibrate(planar[0], CHESSBOARD, CalibrationOptions(base="torso"))


def test_too_few_views(tmp_path):
    truth = robot(6, samples=1)
    path = record(tmp_path / "few", truth, board_poses(np.random.default_rng(6), 2, near=1.2), frames=FRAMES)
    with pytest.raises(BagError, match=r"2 views \(at least 5 are needed"):
        calibrate(path, CHESSBOARD)
