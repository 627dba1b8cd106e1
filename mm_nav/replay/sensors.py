"""How healthy a recording's sensors are, as the report and the JSON tell it."""

from __future__ import annotations

from typing import Any

from mm_nav.bags.reader import BagReport
from mm_nav.replay.records import Event


def topics_of(report: BagReport) -> list[dict[str, Any]]:
    """Return what is known of each topic that was read, in plain units. Unknown is nan."""
    return [
        {
            "name": health.topic,
            "kind": kind,
            "messages": health.messages,
            "rate_hz": health.rate_hz,
            "jitter_ms": 1e3 * health.jitter_s,
            "gaps": health.gaps,
            "longest_gap_s": health.longest_gap_s,
            "delay_ms": 1e3 * health.delay_median_s,
            "delay_p99_ms": 1e3 * health.delay_p99_s,
            "clock_offset_ms": 1e3 * health.clock_offset_s,
            "out_of_order": health.out_of_order,
            "duplicates": health.duplicates,
            "jumps": health.jumps,
            "missing_mounts": ", ".join(health.missing_mounts),
        }
        for kind, health in report.health.items()
    ]


def gaps_of(report: BagReport) -> list[Event]:
    """Return when sensors were silent, s from the recording's start."""
    return [
        Event(gap.time_s, "gap", f"no {kind} on {health.topic} for {gap.length_s:.2f} s", gap.time_s + gap.length_s)
        for kind, health in report.health.items()
        if kind != "command"  # whoever steers may let go
        for gap in health.first_gaps
    ]
