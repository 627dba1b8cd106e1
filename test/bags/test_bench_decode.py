"""The benchmark of decoding measures what it says; its figures are not judged here."""

from __future__ import annotations

import builtins

import pytest

from mm_nav.bags import bench_decode as bench
from mm_nav.bags.reader import BagReader


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(bench, "_MESSAGES", {"image": 3, "scan": 20})
    monkeypatch.setattr(bench, "_CLOUDS", 3)
    monkeypatch.setattr(bench, "_POINTS", 50)
    monkeypatch.setattr(bench, "_MIN_ROUNDS", 1)


@pytest.mark.parametrize("name", bench.KINDS)
def test_recordings_hold_what_is_measured(small, tmp_path, name):
    path, count, size = bench._write(tmp_path, name, False)
    kind = name.split("_")[0]
    with BagReader(path) as reader:
        items = [m.item for m in reader.messages(kinds=(kind,))]
        assert reader.report.skipped == {} and reader.report.missing_mounts == []
    assert len(items) == count and size > 100
    assert len({item.stamp_ns for item in items}) == count
    if kind == "cloud":
        assert items[0].points.shape == (50, 3) and size >= 50 * (int(name[6:] or 22))
    elif kind == "scan":
        assert len(items[0].ranges) == 360 and items[0].mount.x == 0.2
    else:
        assert items[0].rgb.shape == (480, 640, 3)


def test_report_has_all_figures(small):
    told = []
    report = bench.bench_decode(0.0, told.append)
    assert "image" in told and "cloud_32, zstd" in told
    for name in bench.KINDS:
        for prefix in ("", "zstd_"):
            assert report[f"{prefix}{name}_messages_per_s"] > 0 and report[f"ratio_vs_rosbags_{prefix}{name}"] > 0
    ours, theirs = report["image_messages_per_s"], report["image_rosbags_messages_per_s"]
    assert report["ratio_vs_rosbags_image"] == pytest.approx(ours / theirs, rel=0.02)
    assert report["image_mb_per_s"] == pytest.approx(ours * 0.9217, rel=0.01)


def test_without_mcap_ros2_support_it_says_so(small, monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **options):
        if name.startswith("mcap_ros2"):
            raise ImportError("No module named 'mcap_ros2'")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(bench, "KINDS", ("scan",))
    report = bench.bench_decode(0.0)
    assert "mcap-ros2-support" in report["mcap_ros2_missing"] and "ratio_vs_mcap_ros2_scan" not in report
    assert report["scan_messages_per_s"] > 0
