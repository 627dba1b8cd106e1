"""On Arm there is no Embree for Python: a robot's launch file and its nodes do without."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
sys.modules["embreex"] = None  # whoever imports it gets an ImportError
from mm_nav.sim.rig import load_rig
from mm_nav.sim.robot_model import robot_urdf
from mm_nav.cli import calibrate, engine, go, profile, record, replay, robot
import mm_nav.ros.guard_node, mm_nav.ros.inference_node, mm_nav.ros.navigator_node
assert "<robot" in robot_urdf(load_rig("turtlebot4"))
import numpy as np
from mm_nav.errors import ConfigError
from mm_nav.sim.layer import embree_scene
try:
    embree_scene(np.zeros((1, 3, 3), np.float32))
except ConfigError as error:
    print(error)
"""


def test_what_a_jetson_runs_needs_no_embree() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "embreex is not installed" in told.stdout
