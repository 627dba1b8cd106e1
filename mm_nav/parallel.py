"""Run many independent jobs at once: in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import importlib
import logging
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import cv2

from mm_nav.errors import ConfigError, MmNavError

Result = TypeVar("Result")

# Libraries that start threads of their own would take one another's cores. They read this as they are loaded, so workers must
# be born with it.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
_DIED = "a worker process died (out of memory?): run again with fewer --workers; what is done is kept where the run can go on"
_STORE_BYTES = 200_000_000  # of Ray's shared memory on one machine: results are small, for shards go to files


@dataclass(frozen=True)
class Workers:
    """Where jobs run.

    count: how many at once; None = one a core. ray: "" = processes of this machine; "local" = a Ray that is started here
    and ends with the run; "auto" or host:port = a running Ray cluster, whose machines have mm_nav installed and see the
    same folders. Raises ConfigError for a count below 1.
    """

    count: int | None = None
    ray: str = ""

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ConfigError(f"--workers is {self.count}: give 1 or more")


def run_jobs(
    function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], workers: Workers | int | None = None
) -> Iterator[Result]:
    """Yield function(*job) for every job as they finish, in any order.

    function: of a module, so that other processes find it. workers: a number is that many on this machine; one alone is this
    process itself. Whatever a job raises is raised here, and ends the others. Raises ConfigError when workers die, or Ray is
    missing or out of reach.
    """
    workers = workers if isinstance(workers, Workers) else Workers(workers)
    if not jobs:
        return
    if workers.ray:
        yield from _on_ray(function, jobs, workers)
    elif (workers.count or os.cpu_count() or 1) == 1:
        for job in jobs:
            yield function(*job)
    else:
        yield from _in_processes(function, jobs, workers.count or os.cpu_count() or 1)


def _in_processes(function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], count: int) -> Iterator[Result]:
    os.environ.update(_ONE_THREAD)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(count, len(jobs)), context, initializer=start_worker)
    queue = iter(jobs)
    running: set[Future[Result]] = set()
    try:
        while True:
            # A few jobs ahead of the workers: an interrupt then has little to cancel.
            running.update(pool.submit(function, *job) for job in islice(queue, 2 * count - len(running)))
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    except BrokenProcessPool as error:
        raise ConfigError(_DIED) from error
    finally:
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)


def start_worker() -> None:
    """Make this process a worker: one thread, interrupts are its parent's, and it ends with its parent."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the process that started it is gone, however it went."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _on_ray(function: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], workers: Workers) -> Iterator[Result]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray sends nothing to its makers
    try:
        import ray.exceptions  # a folder that happens to be called ray has none
    except ImportError as error:
        raise ConfigError(f"--ray needs Ray ({error}): run pip install 'mm_nav[ray]'") from error
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, workers)
    running: list[Any] = []
    try:
        ahead = workers.count or 2 * int(ray.cluster_resources().get("CPU", 1))
        remote = ray.remote(num_cpus=1)(_call)
        queue = iter(jobs)
        while True:
            running += [remote.remote(function, job) for job in islice(queue, ahead - len(running))]
            if not running:
                return
            finished, running = ray.wait(running)
            yield ray.get(finished[0])
    except ray.exceptions.RayTaskError as error:
        raise error.cause from (None if isinstance(error.cause, MmNavError) else error)
    except ray.exceptions.RayError as error:
        raise ConfigError(f"{_DIED} ({type(error).__name__})") from error
    finally:
        for reference in running:
            ray.cancel(reference, force=True)
        if ours:
            ray.shutdown()


def _connect(ray: Any, workers: Workers) -> None:
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if workers.ray == "local":
        os.environ.update(_ONE_THREAD)
        # What macOS and Windows have by default: Ray's servers listen on the loopback address alone.
        constants: Any = importlib.import_module("ray._private.ray_constants")
        before, constants.ENABLE_RAY_CLUSTER = constants.ENABLE_RAY_CLUSTER, False
        try:
            ray.init(
                address="local",
                num_cpus=workers.count or os.cpu_count() or 1,
                include_dashboard=False,
                object_store_memory=_STORE_BYTES,
                _node_ip_address="127.0.0.1",
                **quiet,
            )
        finally:
            constants.ENABLE_RAY_CLUSTER = before
        return
    try:
        if workers.ray != "auto":
            # Ray itself would try for minutes, and then end the process.
            host, _, port = workers.ray.removeprefix("ray://").rpartition(":")
            socket.create_connection((host, int(port)), timeout=5.0).close()
        ray.init(address=workers.ray, runtime_env={"env_vars": _ONE_THREAD}, **quiet)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"no Ray cluster at '{workers.ray}' ({reason}): start one with `ray start --head`, or give --ray local"
        ) from error


def _call(function: Callable[..., Result], job: tuple[Any, ...]) -> Result:
    cv2.setNumThreads(1)
    return function(*job)
