"""Times of the stages on the way from scan to command."""

import pytest

from mm_nav.runtime.stages import Arrivals, StageTimes, shares


def test_the_last_times_count() -> None:
    times = StageTimes(keep=3)
    for value in (100.0, 1.0, 2.0, 3.0):
        times.note(network=value)
    times.note(guard=0.5)
    report = times.report()
    assert list(report) == ["network_p50_ms", "network_p99_ms", "guard_p50_ms", "guard_p99_ms"]
    assert report["network_p50_ms"] == 2.0 and report["network_p99_ms"] == pytest.approx(2.98)
    assert times.newest("network") == 3.0 and times.newest("planning") is None
    assert times.late("network", 1.5) == 2 and times.late("planning", 1.0) == 0


def test_arrivals_are_known_for_a_while() -> None:
    arrivals = Arrivals(keep=2)
    for k in range(3):
        arrivals.note(k, 10.0 + k)
    assert arrivals.since_ms(0, 13.0) is None and arrivals.since_ms(1, 13.0) == 2000.0
    assert arrivals.since_ms(1, 13.5, last=True) == 2500.0 and arrivals.since_ms(1, 14.0) is None


def test_shares_and_what_is_left() -> None:
    found = shares({"scan_to_wheels_p50_ms": 20.0, "network_p50_ms": 5.0, "guard_p50_ms": 1.0})
    assert found == {
        "share_wait": 0.0, "share_preprocess": 0.0, "share_network": 0.25, "share_planning": 0.0, "share_guard": 0.05,
        "share_transport": 0.7,
    }  # fmt: skip
    assert shares({"network_p50_ms": 5.0}) == {}
    over = shares({"scan_to_wheels_p50_ms": 4.0, "network_p50_ms": 5.0})
    assert over["share_network"] == 1.0 and over["share_transport"] == 0.0
