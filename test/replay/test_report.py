"""The report of a replay: what is in it; and that in a browser it draws, answers, and runs nothing a recording brought."""

from __future__ import annotations

import fcntl
import json
import math
import os
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.installation import BROWSERS
from mm_nav.mapping.occupancy_grid import GridExport
from mm_nav.replay.measures import label_of, text_of
from mm_nav.replay.page import embed_json, histogram, thin
from mm_nav.replay.records import AHEAD_S, LATER_COLUMNS, LIVE_COLUMNS, Event, FilmFrame, ReplayLog
from mm_nav.replay.report import RecordingReport, write_report

HOSTILE = "</script><img src=x onerror=alert(1)>\u2028'\"&<b>"


def a_frame(k, time_s, pictures=True, policy=True):
    """A frame whose picture and pose say which it is."""
    shade = np.full((24, 32, 3), (k * 40) % 256, np.uint8)
    x = 0.1 * k
    ahead = np.stack([x + 0.3 * np.array(AHEAD_S), np.zeros(len(AHEAD_S))], axis=1)
    return FilmFrame(
        time_s=time_s, pose=Pose2D(x, 0.0, 0.0), jpeg=cv2.imencode(".jpg", shade)[1].tobytes() if pictures else None,
        size=(32, 24) if pictures else (0, 0), waypoints_px=np.full((2, 3, 2), 10.0) if policy else np.empty((0, 0, 2)),
        waypoint_probs=np.array([0.7, 0.3]) if policy else np.empty(0), heatmap=np.eye(4) if policy else None,
        scan=np.random.default_rng(k).normal(x, 1.0, (90, 2)), plan=ahead[:5], foreseen=ahead, target=(3.0, 1.0),
        confidence=0.5, visible=0.9, stage="following", step_text=f"step of frame {k}", wanted=(0.4, 0.1), driven=(0.3, 0.1),
        recorded=(0.2, 0.0), guard="" if k % 2 else "something ahead",
    )  # fmt: skip


def a_report(steps=60, frames=12, data=(), columns=(), events=None, pictures=True, policy=True, grid=True, topics=()):
    times = 0.1 * np.arange(steps, dtype=np.float32)
    wave = (0.5 + 0.4 * np.sin(times)).astype(np.float32)
    table = {name: wave.copy() for name in (*LIVE_COLUMNS, *LATER_COLUMNS)}
    table |= {"time_s": times, "x": 0.3 * times, "y": np.sin(times), "stage": (times > times.mean()).astype(np.float32)}
    if not policy:
        table |= {
            n: np.full(steps, np.nan, np.float32)
            for n in table
            if n.startswith(("policy_", "visible", "strange_image"))
        }
    cells = np.full((40, 60), -1, np.int8)
    cells[5:35, 5:55], cells[5, 5:55] = 0, 100
    log = ReplayLog(
        columns=table | dict(columns),
        film=[a_frame(k, float(times[k * steps // frames]), pictures, policy) for k in range(frames)],
        events=[Event(0.0, "goal", "the red chair"), Event(1.0, "guard", "stopped", 2.0)] if events is None else events,
        map=GridExport(cells, (-1.0, -1.0), 0.05) if grid else None,
        provenance={"model": "tiny.onnx"},
    )
    values = {"bag": "/data/drive.mcap", "goal": "the red chair", "steps": steps, "ade_2s_m": 0.25, "guard_stops": 3}
    return RecordingReport({**values, **dict(data)}, log, topics)


def data_of(path):
    """Return what the page's script reads, a mapping per recording."""
    texts = re.findall(r'<script type="application/json" class="data">(.*?)</script>', path.read_text(), re.S)
    return [json.loads(text) for text in texts]


def test_numbers_are_on_the_page_and_missing_ones_are_dashes(tmp_path):
    path = write_report(tmp_path, [a_report(data={"an_unknown_thing_ms": 12.5, "near_collisions": None})])
    assert path == tmp_path / "report.html" and list(tmp_path.iterdir()) == [path]
    page = path.read_text()
    assert "0.250\u202fm" in page and "12.5\u202fms" in page and "an unknown thing" in page
    card = re.search(r"near collisions</dt><dd class=\"value\">(.*?)</dd>", page)
    assert card.group(1) == "–"
    (data,) = data_of(path)
    assert len(data["film"]) == 12 and data["range"] == [0.0, 5.9]
    assert [stage[2] for stage in data["stages"]] == ["idle", "searching"]
    assert all(plot["series"] for plot in data["plots"])


def test_nothing_comes_from_elsewhere(tmp_path):
    page = write_report(tmp_path, [a_report()]).read_text()
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=[\"'](?!#|data:)", page) and "http" not in page.replace("http-equiv", "")


def test_texts_stay_texts(tmp_path):
    report = a_report(
        data={"bag": f"/x/{HOSTILE}", "goal": HOSTILE, "warnings": [HOSTILE], HOSTILE: HOSTILE, "ended": HOSTILE},
        events=[Event(0.0, HOSTILE, HOSTILE)],
        topics=[{"name": HOSTILE, "messages": 1, HOSTILE: 2}],
    )
    page = write_report(tmp_path, [report]).read_text()
    assert "<img" not in page and '<b>"' not in page and "\u2028" not in embed_json(HOSTILE)
    assert data_of(tmp_path / "report.html")[0]["events"][0][3] == HOSTILE
    assert page.count("</script>") == 2


def test_several_recordings_have_a_table(tmp_path):
    # What UTF-8 cannot hold is no reason to fail.
    page = write_report(
        tmp_path, [a_report(data={"goal": "a\udcff\x00b"}), a_report(data={"bag": "other.bag"})]
    ).read_text()
    assert "a?" in page
    assert 'href="#recording-1">other.bag' in page and page.count('class="recording"') == 2


def test_sensor_health_shows_what_there_is(tmp_path):
    topics = [{"name": "/scan", "rate_hz": 9.98, "gaps": 2, "odd": "x"}, {"name": "/image", "rate_hz": math.nan}]
    page = write_report(tmp_path, [a_report(topics=topics)]).read_text()
    assert "9.98\u202fHz" in page and ">odd<" in page and "jitter" not in page


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(ConfigError, match="at least one"):
        write_report(tmp_path, [])
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_report(tmp_path / "file" / "report", [a_report()])


def test_jinja_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigError, match=r"mm_nav\[view\]"):
        write_report(tmp_path, [a_report()])


def test_thinning_keeps_peaks_and_gaps():
    times, values = np.arange(20_000) * 0.1, np.zeros(20_000)
    values[7_777], values[3_333], values[12_000:13_000] = 5.0, -4.0, np.nan
    t, y = thin(times, values)
    known = [v for v in y if v is not None]
    assert len(t) == len(y) <= 2000 and t == sorted(t)
    assert max(known) == 5.0 and min(known) == -4.0
    assert any(v is None and 1200 <= at < 1300 for at, v in zip(t, y, strict=True))


def test_pauses_break_the_line():
    times = np.concatenate([np.arange(10) * 0.1, 20 + np.arange(10) * 0.1])
    _, y = thin(times, np.ones(20))
    assert y.index(None) == 10 and y.count(None) == 1


def test_histogram_counts_all_values():
    found = histogram(np.concatenate([np.full(990, 2.0), np.full(10, 500.0), [np.nan]]))
    assert sum(found["counts"]) + found["above"] == 1000 and found["p50"] == 2.0 and found["max"] == 500.0
    assert histogram(np.array([np.nan])) is None


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [("rate_hz", 9.984, "9.98\u202fHz"), ("a_share", 0.123, "12.3\u202f%"), ("x_m", math.nan, "–"), ("steps", 12345, "12\u202f345"),
     ("modalities", ["image", "scan"], "image, scan"), ("stages", {"idle": 3}, "idle 3"), ("ok", True, "yes")],
)  # fmt: skip
def test_values_are_written_for_people(key, value, text):
    assert text_of(key, value) == text
    assert (
        label_of("policy_fde_4s_m") == "policy's waypoints, error at 4 s"
        and label_of("a_new_thing_ms") == "a new thing"
    )


# Descriptors 3 and 4 are what --remote-debugging-pipe reads and writes.
_WITH_PIPES = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Page:
    """A page in headless Chromium, over the Chrome DevTools Protocol. errors: what its console and its exceptions said."""

    def __init__(self, program: str, profile: Path) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # Out of the way of 3 and 4, which they are copied to.
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out)]
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
            "--disable-background-networking", "--hide-scrollbars", f"--user-data-dir={profile}", "--remote-debugging-pipe",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", _WITH_PIPES, *map(str, high), program, *options, "about:blank"],
            pass_fds=high, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        for end in (theirs_in, theirs_out, *high):
            os.close(end)
        self._in, self._out, self._buffer, self._number = ours_in, ours_out, b"", 0
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._session = None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def close(self) -> None:
        os.close(self._out)
        os.close(self._in)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=path.resolve().as_uri())
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str):
        """Return what an expression of the page gives; a promise is awaited."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def until(self, script: str, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"never came true: {script}; errors: {self.errors}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
            self._call("Input.dispatchKeyEvent", type=kind, key=key, **text)

    def mouse(self, kind: str, x: float, y: float, buttons: int = 0) -> None:
        button = "left" if kind != "mouseMoved" else "none"
        self._call(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=buttons, clickCount=int(kind != "mouseMoved")
        )  # fmt: skip

    def _call(self, method: str, **parameters):
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer.get("method"), answer.get("params", {}))

    def _note(self, event, what) -> None:
        if event == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(what["exceptionDetails"])[:800])
        elif event == "Runtime.consoleAPICalled" and what["type"] in ("error", "assert"):
            self.errors.append(json.dumps(what["args"])[:800])
        elif event == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.errors.append(what["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])

    def _receive(self):
        end = time.monotonic() + 60
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            data = os.read(self._in, 1 << 20) if ready else b""
            assert data, "the browser does not answer"
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """The function that opens pages; one browser for all of them."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed")
    page = Page(program, tmp_path_factory.mktemp("chromium"))
    yield page
    page.close()


@pytest.fixture()
def page(browser):
    browser.errors.clear()
    browser.requests.clear()
    return browser


SHOWN = """(() => { const s = document.querySelector('.recording'), c = s.querySelector('canvas.picture');
  const p = c.getContext('2d').getImageData(c.width / 2, c.height * 0.95, 1, 1).data;
  return {frame: Number(s.dataset.frame), grey: p[0], step: s.querySelector('[data-read=step]').textContent}; })()"""
# Canvases that are of one colour.
BLANK = """[...document.querySelectorAll('canvas')].filter((c) => {
  const d = new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer);
  return d.every((v) => v === d[0]); }).map((c) => c.getAttribute('aria-label'))"""


def opened(page, path, **view):
    page.open(path, **view)
    page.until("document.documentElement.dataset.ready === 'true'")
    page.until("[...document.querySelectorAll('canvas.picture')].every((c) => c.dataset.frame !== undefined)")
    # The map's picture is decoded in its own time.
    page.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def test_page_draws_and_asks_nothing(tmp_path, page):
    opened(page, write_report(tmp_path, [a_report(), a_report(data={"bag": "other.bag"})]))
    assert page.errors == []
    assert [url for url in page.requests if not url.startswith("data:")] == [(tmp_path / "report.html").as_uri()]
    points = page.run("[...document.querySelectorAll('[data-plot] canvas')].map((c) => Number(c.dataset.drawnPoints))")
    assert len(points) == 16 and min(points) > 0 and points[0] == 3 * 60
    assert page.run(BLANK) == []


def test_scrubbing_keys_plots_and_playing_move_the_film(tmp_path, page):
    opened(page, write_report(tmp_path, [a_report()]))
    first = page.run(SHOWN)
    assert first["frame"] == 0 and first["step"] == "step of frame 0" and first["grey"] < 10
    page.run("const s = document.querySelector('.scrubber'); s.value = 5; s.dispatchEvent(new Event('input')); 0")
    page.until("document.querySelector('canvas.picture').dataset.frame === '5'")
    shown = page.run(SHOWN)
    assert shown["frame"] == 5 and shown["step"] == "step of frame 5" and abs(shown["grey"] - 200) < 10
    page.press("ArrowRight")
    assert page.run(SHOWN)["frame"] == 6
    box = page.run("(() => { const c = document.querySelector('[data-plot=error] canvas'); c.scrollIntoView({block: 'center'});"
                   " const b = c.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()")  # fmt: skip
    x, y = box[0] + 0.9 * box[2], box[1] + 0.5 * box[3]
    for kind, buttons in (("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)):
        page.mouse(kind, x, y, buttons)
    assert page.run(SHOWN)["frame"] in (10, 11)
    page.run("document.querySelector('[data-seek=\"1.0\"]').click()")
    assert page.run(SHOWN)["frame"] == 2
    page.run("document.querySelector('.rate').value = '30'")
    page.press(" ")
    page.until("document.querySelector('.recording').dataset.frame === '11'")
    assert page.errors == []


def test_plots_of_long_recordings_show_a_stretch_that_follows(tmp_path, page):
    opened(page, write_report(tmp_path, [a_report(steps=1200, frames=12)]))
    page.run("const s = document.querySelector('.span'); s.value = 30; s.dispatchEvent(new Event('change')); 0")
    before = page.run("document.querySelector('[data-plot=speed] canvas').toDataURL()")
    page.run("document.querySelector('.scrubber').focus()")
    page.press("End")
    assert page.run("document.querySelector('[data-plot=speed] canvas').toDataURL()") != before
    assert page.run(SHOWN)["frame"] == 11 and page.errors == []


def test_hostile_texts_run_nothing(tmp_path, page):
    report = a_report(
        data={"bag": f"/x/{HOSTILE}", "goal": HOSTILE, "warnings": [HOSTILE]},
        events=[Event(0.0, HOSTILE, HOSTILE)],
        topics=[{"name": HOSTILE}],
    )
    page.open(write_report(tmp_path, [report]))
    page.until("document.documentElement.dataset.ready === 'true'")
    assert page.run("document.querySelectorAll('img').length") == 0
    assert HOSTILE in page.run("document.querySelector('.asked b').textContent")
    # Even markup that got in would run nothing: the page allows its own script only.
    page.run("window.ran = 0; document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
    page.run("new Promise((done) => setTimeout(done, 100))")
    assert page.run("window.ran") == 0


@pytest.mark.parametrize(
    "options",
    [
        {"pictures": False}, {"policy": False}, {"grid": False}, {"steps": 1, "frames": 1}, {"steps": 6000, "frames": 40},
        {"frames": 0}, {"columns": {name: np.zeros(0, np.float32) for name in (*LIVE_COLUMNS, *LATER_COLUMNS)}}, {"events": []},
    ],
    ids=["no camera", "no policy", "no map", "one step", "6000 steps", "no film", "no columns", "no events"],
)  # fmt: skip
def test_odd_recordings(tmp_path, page, options):
    path = write_report(tmp_path, [a_report(**options)])
    page.open(path, width=390, height=844, dark=True)
    page.until("document.documentElement.dataset.ready === 'true'")
    assert page.errors == []
    assert page.run("document.documentElement.scrollWidth <= 390")
    longest = page.run(
        "Math.max(0, ...[...document.querySelectorAll('canvas')].map((c) => Number(c.dataset.drawnPoints) || 0))"
    )
    assert longest <= 3 * 2000
