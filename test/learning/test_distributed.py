"""Two processes train one policy."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

torch = pytest.importorskip("torch", reason="torch is not installed (make setup-train)")

from mm_nav.learning.collect import CollectConfig, collect  # noqa: E402
from mm_nav.policy.config import PolicyConfig  # noqa: E402


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


SMALL = {"width": 32, "feedforward": 32, "fusion_layers": 1, "perception_layers": 1, "stem": [8, 8, 16, 16]}


def test_two_processes_share_batches_and_take_the_same_steps(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    policy = PolicyConfig.from_dict(dict(SMALL))
    list(collect(data, CollectConfig(worlds=4, frames=16, worlds_per_shard=2), policy, workers=1))
    train = {"data": str(data), "epochs": 4, "batch": 8, "phrases": 2, "warmup_steps": 2, "look_share": 0.25}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"collect": {}, "train": train, "policy": SMALL}))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1",
        "--master-port", str(free_port()), "-m", "mm_nav.cli", "train", "--config", str(tmp_path / "c.yaml"), "--out", str(out),
        "--json", str(tmp_path / "m.json"),
    ]  # fmt: skip
    env = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    state = torch.load(out / "checkpoint.pt", weights_only=True)["state"]
    frames = 32  # of the one shard that is not for validation
    assert state["step"] == 4 * (frames // 8) and state["look_steps"] == 4
    assert json.loads((tmp_path / "m.json").read_text())["total"] > 0
