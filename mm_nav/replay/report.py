"""Replays as one self-contained HTML page: what was seen, what the stack would have done, how far that is from what was done."""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from mm_nav import __version__
from mm_nav.errors import ConfigError
from mm_nav.replay.measures import DASH, grouped, label_of, text_of
from mm_nav.replay.page import embed_json, page_data
from mm_nav.replay.records import HORIZONS_S, ReplayLog
from mm_nav.robot import RobotConfig

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("chart.js", "view.js", "map.js", "timeline.js", "replay.js")
_MAX_EVENT_ROWS = 400
# Stretches that plots of long recordings can be made to show.
_SPANS_S = (10, 30, 60, 180)


@dataclass(frozen=True)
class RecordingReport:
    """One recording of a report.

    data: ReplayResult.as_dict(), and whatever else is to be in the table. log: its columns, pictures and events. topics: sensor
    health, a mapping per topic (name, kind, type, messages, rate_hz, jitter_ms, gaps, longest_gap_s, delay_ms,
    clock_offset_ms, out_of_order; missing ones are shown as a dash); data["topics"] where it is empty. footprint: the robot's
    corners in base_link, metres.
    """

    data: Mapping[str, Any]
    log: ReplayLog
    topics: Sequence[Mapping[str, Any]] = ()
    footprint: tuple[tuple[float, float], ...] = field(default_factory=lambda: RobotConfig().footprint)


@dataclass(frozen=True)
class _Card:
    """A headline number: its title, the JSON's key, and what stands under it as (text, key)."""

    title: str
    key: str
    below: tuple[tuple[str, str], ...] = ()


_CARDS = (
    _Card("error over 2 s", "ade_2s_m", (("straight on", "straight_ade_2s_m"), ("policy", "policy_ade_2s_m"))),
    _Card("error at 2 s", "fde_2s_m", (("over 4 s", "ade_4s_m"),)),
    _Card("heading error", "heading_error_deg", (("speed error", "speed_error_mps"),)),
    _Card("guard stops", "guard_stops", (("limited", "guard_limited"), ("recorded robot", "recorded_guard_stops"))),
    _Card("near collisions", "near_collisions", (("recorded robot", "recorded_near_collisions"),)),
    _Card("target in view", "visible_share", (("greatest belief", "confidence_max"),)),
    _Card("strange pictures", "strange_image_share", (("strange scans", "strange_scan_share"),)),
    _Card("latency, p99", "latency_p99_ms", (("median", "latency_p50_ms"), ("× real time", "realtime_factor"))),
)
# The table of all recordings: heading and key.
_OVERVIEW = (
    ("steps", "steps"), ("time", "message_time_s"), ("error over 2 s", "ade_2s_m"), ("straight on", "straight_ade_2s_m"),
    ("heading error", "heading_error_deg"), ("guard stops", "guard_stops"), ("recorded robot", "recorded_guard_stops"),
    ("near collisions", "near_collisions"), ("latency p99", "latency_p99_ms"), ("× real time", "realtime_factor"),
)  # fmt: skip
_HEALTH = (
    ("topic", "name"), ("kind", "kind"), ("type", "type"), ("messages", "messages"), ("rate", "rate_hz"), ("jitter", "jitter_ms"),
    ("gaps", "gaps"), ("longest gap", "longest_gap_s"), ("delay", "delay_ms"), ("clock offset", "clock_offset_ms"),
    ("out of order", "out_of_order"),
)  # fmt: skip


def write_report(folder: Path, results: Sequence[RecordingReport]) -> Path:
    """Write report.html to a folder, a section per recording; return its path.

    The page asks for nothing from elsewhere and may be mailed. Written whole or not at all. Raises ConfigError when there is
    nothing to report, Jinja2 is not installed, or the folder cannot be written.
    """
    if not results:
        raise ConfigError("a report needs at least one recording that was replayed")
    recordings = [_recording(index, result) for index, result in enumerate(results)]
    text = render(
        "replay.html.j2", _SCRIPTS, recordings=recordings, overview=_overview(recordings), version=__version__,
        title=recordings[0]["name"] if len(recordings) == 1 else f"{len(recordings)} recordings",
    )  # fmt: skip
    return write_page(folder / "report.html", text)


def render(template: str, scripts: Sequence[str], **content: Any) -> str:
    """Return a page of a template, with the style sheet and scripts in it. The page's policy allows these scripts only, by their
    hash, and no request. Raises ConfigError when Jinja2 is not installed."""
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise ConfigError("reports need Jinja2: run pip install 'mm_nav[view]', or leave --report out") from error
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    parts = [(_TEMPLATES / name).read_text(encoding="utf-8") for name in scripts]
    script = "(() => {\n'use strict';\n" + "\n".join(parts) + "})();\n"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template(template).render(
        **content,
        style=Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        policy=Markup(f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"),
    )


def write_page(path: Path, text: str) -> Path:
    """Write a page whole or not at all; return its path. Raises ConfigError when it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}): give a folder you may write") from error
    try:
        # Names of topics are any bytes at all: what UTF-8 cannot hold is written as a question mark.
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except OSError as error:
        Path(part).unlink(missing_ok=True)
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}): make room there, or give another folder"
        ) from error
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return path


def _recording(index: int, result: RecordingReport) -> dict[str, Any]:
    """Return what the template prints of one recording."""
    from markupsafe import Markup

    data, log = result.data, result.log
    path = str(data.get("bag") or "recording")
    drawn = page_data(log, result.footprint)
    return {
        "index": index,
        "name": PurePath(path).name or path,
        "path": path,
        "goal": str(data.get("goal") or ""),
        "ended": str(data.get("ended") or ""),
        "summary": _summary(data),
        "overview": [text_of(key, data.get(key)) for _, key in _OVERVIEW],
        "cards": [
            {
                "title": card.title,
                "value": text_of(card.key, data.get(card.key)),
                "below": [(name, text_of(key, data.get(key))) for name, key in card.below],
            }
            for card in _CARDS
        ],
        "pictures": any(frame.jpeg is not None for frame in log.film),
        "hypotheses": any(frame["waypoints"] for frame in drawn["film"]),
        "heat": any(frame["heat"] for frame in drawn["film"]),
        "aspect": _aspect(log),
        "frames": len(log.film),
        "spans": [s for s in _SPANS_S if 2 * s <= drawn["range"][1] - drawn["range"][0]],
        "plots": drawn["plots"],
        "histogram": drawn["histogram"],
        "errors": _errors(data),
        "groups": grouped(data),
        "health": _health(result.topics or data.get("topics") or ()),
        "warnings": [str(warning) for warning in data.get("warnings") or ()],
        "events": drawn["events"][:_MAX_EVENT_ROWS],
        "more_events": len(log.events) - min(len(drawn["events"]), _MAX_EVENT_ROWS),
        "provenance": [(str(key), str(value)) for key, value in log.provenance.items()],
        "json": Markup(embed_json(drawn)),
    }


def _errors(data: Mapping[str, Any]) -> dict[str, Any]:
    """The table of displacement errors: who, and how far off over and after each horizon."""
    columns = [
        (f"{text} {h} s", f"{what}_{h}s_m") for what, text in (("ade", "over"), ("fde", "at")) for h in HORIZONS_S
    ]
    rows = [
        (name, role, [text_of(start + key, data.get(start + key), unit=False) for _, key in columns])
        for name, role, start in (
            ("stack", "stack", ""), ("policy's waypoints", "policy", "policy_"), ("straight on", "baseline", "straight_")
        )
    ]  # fmt: skip
    shares = {h: data.get(f"policy_{h}s_share") for h in HORIZONS_S}
    known = [f"{text_of('_share', share)} over {h} s" for h, share in shares.items() if isinstance(share, float)]
    note = ""
    if any(isinstance(share, float) and share < 0.995 for share in shares.values()):
        note = (
            "The policy's waypoints end 2 m ahead: they are compared where the robot went no farther in the time, and somewhere, "
            f"in {', '.join(known)} of the steps."
        )
    return {"head": [title for title, _ in columns], "rows": rows, "note": note}


def _aspect(log: ReplayLog) -> float:
    """Width over height of the views: as the pictures are, within what a page has room for."""
    sizes = [frame.size for frame in log.film if frame.jpeg is not None and min(frame.size) > 0]
    return round(min(1.9, max(1.2, sizes[0][0] / sizes[0][1])), 3) if sizes else 1.4


def _summary(data: Mapping[str, Any]) -> str:
    parts = [
        text_of("message_time_s", data.get("message_time_s", data.get("duration_s"))),
        f"{text_of('steps', data.get('steps'))} steps",
    ]
    modalities = data.get("modalities")
    if modalities is not None:
        shares = [(name, data.get(f"{name}_share")) for name in modalities]
        parts.append(
            "with " + ", ".join(name if share is None else f"{name} {text_of('_share', share)}" for name, share in shares)
            if modalities else "without a sensor that the stack can use"
        )  # fmt: skip
    return ", ".join(parts)


def _overview(recordings: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    if len(recordings) < 2:
        return None
    return {"head": [title for title, _ in _OVERVIEW], "rows": recordings}


def _health(topics: Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> dict[str, Any]:
    """Return heading and rows of the topics' table; columns that no topic has are left out, further ones are added."""
    if isinstance(topics, Mapping):
        topics = [{"kind": kind, **values} for kind, values in topics.items() if isinstance(values, Mapping)]
    known = {key for _, key in _HEALTH}
    more = {key: None for topic in topics for key, value in topic.items() if key not in known and _is_plain(value)}
    columns = [*_HEALTH, *((label_of(key), key) for key in more)]
    columns = [(title, key) for title, key in columns if any(topic.get(key) not in (None, "") for topic in topics)]
    rows = [[text_of(key, topic.get(key)) for _, key in columns] for topic in topics]
    texts = [any(isinstance(topic.get(key), str) for topic in topics) for _, key in columns]
    return {"head": [title for title, _ in columns], "rows": rows, "texts": texts, "dash": DASH}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))
