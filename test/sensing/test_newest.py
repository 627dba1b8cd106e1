"""Only the newest input is worked on, and failures are results."""

import threading

from mm_nav.errors import SensorError
from mm_nav.sensing.newest import NewestWorker


def test_the_newest_wins_and_failures_are_told() -> None:
    go, began, ready = threading.Semaphore(0), threading.Semaphore(0), threading.Semaphore(0)

    def work(value: int) -> int:
        began.release()
        assert go.acquire(timeout=10.0)
        if value < 0:
            raise SensorError("negative")
        return 10 * value

    worker = NewestWorker(work, ready.release)
    worker.offer(1)
    assert began.acquire(timeout=10.0)
    for value in (2, 3, -4):  # while the first is under way
        worker.offer(value)
    for _ in range(2):
        go.release()
        assert ready.acquire(timeout=10.0)
    first, last = worker.take()
    assert first == 10 and isinstance(last, SensorError) and worker.dropped == 2 and worker.take() == []
    worker.close()


def test_what_waits_at_the_end_is_left() -> None:
    begun, release = threading.Event(), threading.Event()

    def work(value: int) -> int:
        begun.set()
        release.wait(10.0)
        return value

    worker = NewestWorker(work, lambda: None)
    worker.offer(1)
    assert begun.wait(10.0)
    worker.offer(2)
    threading.Timer(0.05, release.set).start()
    worker.close()
    assert worker.take() == [1]
