"""Jobs in processes and on Ray: results, errors, and what becomes of workers."""

import builtins
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from mm_nav.errors import ConfigError
from mm_nav.evaluation.language import SuiteConfig, run_suite
from mm_nav.learning.collect import CollectConfig, collect
from mm_nav.parallel import Workers, run_jobs
from mm_nav.policy.config import PolicyConfig


@pytest.mark.parametrize("count", [1, 2])
def test_every_job_is_run_and_its_error_is_raised(count: int) -> None:
    assert sorted(run_jobs(pow, [(n, 2) for n in range(9)], count)) == [n * n for n in range(9)]
    assert list(run_jobs(pow, [], count)) == []
    with pytest.raises(ConfigError, match="held-out"):
        list(run_jobs(CollectConfig, [(9_990, 20)], count))


def test_a_worker_that_dies_is_told() -> None:
    with pytest.raises(ConfigError, match="worker process died"):
        list(run_jobs(os._exit, [(3,)], 2))


@pytest.mark.parametrize("workers", [{"count": 0}, {"count": -1, "ray": "local"}])
def test_no_workers_are_refused(workers: dict) -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        Workers(**workers)


def test_missing_ray_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.partition(".")[0] == "ray":
            raise ImportError("No module named 'ray'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"mm_nav\[ray\]"):
        list(run_jobs(pow, [(2, 2)], Workers(2, "local")))


def test_ray_gives_what_processes_give(tmp_path: Path) -> None:
    """One Ray for all: two shards, two episodes, a job's error, and a cluster that is not there."""
    ray = pytest.importorskip("ray", reason="ray is not installed (pip install 'mm_nav[ray]')")
    small = PolicyConfig(width=32, feedforward=32)
    frames = CollectConfig(worlds=2, frames=2, worlds_per_shard=1)
    suite = SuiteConfig(episodes=2, conditions=("oracle",), time_limit_s=0.5)
    on_ray = Workers(2, "local")
    with pytest.raises(ConfigError, match="no Ray cluster at '127"):
        list(run_jobs(pow, [(2, 2)], Workers(2, "127.0.0.1:1")))
    jobs = run_jobs(pow, [(2, 2)], on_ray)
    assert next(jobs) == 4 and ray.is_initialized()
    # Its servers then listen on the loopback address alone.
    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
    # What runs inside an open Ray uses it, and leaves it open.
    assert list(collect(tmp_path / "ray", frames, small, on_ray))[-1] == (2, 2)
    assert run_suite(suite, on_ray) == run_suite(suite, 1)
    with pytest.raises(ConfigError, match="held-out"):
        list(run_jobs(CollectConfig, [(9_990, 20)], on_ray))
    jobs.close()
    assert not ray.is_initialized()
    list(collect(tmp_path / "here", frames, small, 1))
    for name in ("shard_00000.zarr", "shard_00001.zarr"):
        one, other = (zarr.open_group(str(tmp_path / place / name), mode="r") for place in ("ray", "here"))
        assert one.attrs["worlds"] == other.attrs["worlds"]
        for array in one.array_keys():
            np.testing.assert_array_equal(one[array][:], other[array][:])


def test_workers_end_with_their_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import multiprocessing, os, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from mm_nav import parallel\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    pool = ProcessPoolExecutor(1, context, initializer=parallel.start_worker)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        worker = Path("/proc") / parent.stdout.readline().strip()
        assert worker.exists()
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    deadline = time.monotonic() + 20
    while worker.exists() and " Z " not in (worker / "stat").read_text() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not worker.exists() or " Z " in (worker / "stat").read_text()
