"""Pictures get from one process to another: with the transports that Fast DDS has by itself, those of 640x480 do not."""

import os
from pathlib import Path

from mm_nav.ros.bench_images import HZ, _measure
from mm_nav.ros.process_group import ENVIRONMENT


def test_large_pictures_arrive() -> None:
    assert Path(ENVIRONMENT["FASTDDS_DEFAULT_PROFILES_FILE"]).is_file()
    assert os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] == ENVIRONMENT["FASTDDS_DEFAULT_PROFILES_FILE"]
    found = _measure("ours", 1280, 720, 1.5)
    # Without room in shared memory it is none, or one.
    assert found["per_s"] is not None and found["per_s"] > HZ / 4 and found["latency_ms"] is not None
