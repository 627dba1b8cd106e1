"""The demo's film and picture: what the camera saw, where the policy looked, and where the robot went."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from mm_nav.geometry import Pose2D
from mm_nav.sim.check_views import TopFrame, top_frame, top_view
from mm_nav.sim.scene import Scene

Image = npt.NDArray[np.uint8]
_PANEL = 480
_BAR = 64
_PATH, _PLAN, _TARGET, _SCAN = (225, 60, 50), (40, 110, 230), (250, 150, 20), (20, 150, 70)


@dataclass
class DriveState:
    """What is known at one moment. pose, target, plan, scan: world frame, metres. heatmap: (h, w), sums to 1."""

    image: Image | None = None
    heatmap: npt.NDArray[np.float32] | None = None
    visible: float = 0.0
    pose: Pose2D = field(default_factory=Pose2D)
    scan: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    plan: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 2)))
    target: tuple[float, float] | None = None
    confidence: float = 0.0
    stage: str = ""
    latency_ms: float = float("nan")
    time_s: float = 0.0


class DriveRecorder:
    """Collects frames; writes an MP4 (GIF where no encoder is installed) and a PNG."""

    def __init__(self, scene: Scene, title: str, frames_per_s: int = 5) -> None:
        self._frame: TopFrame = top_frame(scene, 2 * _PANEL)
        top = top_view(scene, 2 * _PANEL).astype(np.float32)
        # Paler, so that what is drawn on it stands out.
        self._ground: Image = np.asarray(np.clip(0.65 * top + 0.35 * 255, 0, 255), np.uint8)
        self._title, self._rate = title, frames_per_s
        self._driven: list[tuple[float, float]] = []
        self._film: list[Image] = []
        self._best: tuple[float, DriveState] | None = None
        self._last = DriveState()

    def add(self, state: DriveState) -> None:
        """Add one moment."""
        self._driven.append((state.pose.x, state.pose.y))
        self._last = state
        if state.image is not None and state.heatmap is not None and state.visible >= 0.5:
            # The picture that tells most: the target in view and large, but not yet at the end.
            score = state.visible - 0.02 * len(self._film) * (state.stage != "approaching")
            if self._best is None or score >= self._best[0]:
                self._best = (score, state)
        self._film.append(self._compose(state, _PANEL))

    def save(self, folder: Path, outcome: str) -> list[Path]:
        """Write the film and the picture; return their paths."""
        folder.mkdir(parents=True, exist_ok=True)
        state = self._best[1] if self._best is not None else self._last
        shown = DriveState(
            **{**state.__dict__, "pose": self._last.pose, "scan": np.empty((0, 2)), "plan": np.empty((0, 2))}
        )
        picture = self._compose(shown, 2 * _PANEL, outcome)
        path = folder / "demo.png"
        cv2.imwrite(str(path), picture[..., ::-1])
        return [path, self._save_film(folder)]

    def _save_film(self, folder: Path) -> Path:
        film = self._film or [np.zeros((_PANEL, 2 * _PANEL, 3), np.uint8)]
        try:
            import imageio_ffmpeg

            height, width = film[0].shape[:2]
            path = folder / "demo.mp4"
            writer = imageio_ffmpeg.write_frames(
                str(path), (width, height), fps=self._rate, codec="libx264", macro_block_size=2, quality=7,
                ffmpeg_log_level="error",
            )  # fmt: skip
            writer.send(None)
            for image in film:
                writer.send(np.ascontiguousarray(image))
            writer.close()
            return path
        except ImportError:
            from PIL import Image as Pillow

            path = folder / "demo.gif"
            frames = [Pillow.fromarray(image[::2, ::2]) for image in film]
            frames[0].save(path, save_all=True, append_images=frames[1:], duration=int(1000 / self._rate), loop=0)
            return path

    def _compose(self, state: DriveState, size: int, outcome: str = "") -> Image:
        left, right = self._camera_panel(state, size), self._map_panel(state, size)
        canvas = np.full((size + _BAR, left.shape[1] + right.shape[1], 3), 28, np.uint8)
        canvas[_BAR:, : left.shape[1]] = left
        canvas[_BAR:, left.shape[1] :] = right
        _text(canvas, self._title, (12, 26), 0.7)
        line = outcome or (
            f"{state.stage:<12} t {state.time_s:5.1f} s   target in view {state.visible:.2f}   belief {state.confidence:.2f}"
            f"   stamp to command {state.latency_ms:.0f} ms"
        )
        _text(canvas, line, (12, 52), 0.5, (190, 205, 220))
        return canvas[: canvas.shape[0] // 2 * 2, : canvas.shape[1] // 2 * 2]

    def _camera_panel(self, state: DriveState, size: int) -> Image:
        width = size * 4 // 3
        if state.image is None:
            panel = np.full((size, width, 3), 60, np.uint8)
            _text(panel, "no camera", (width // 2 - 60, size // 2), 0.8)
            return panel
        panel = cv2.resize(state.image, (width, size), interpolation=cv2.INTER_LINEAR)
        if state.heatmap is None or state.visible < 0.2:
            return np.asarray(panel, np.uint8)
        heat = state.heatmap / max(float(state.heatmap.max()), 1e-9)
        heat = cv2.GaussianBlur(cv2.resize(heat, (width, size), interpolation=cv2.INTER_CUBIC), (0, 0), size / 60)
        heat = np.clip(heat, 0.0, 1.0)[..., None] * min(1.0, state.visible) * 0.65
        return np.asarray(panel * (1.0 - heat) + heat * np.array((255, 40, 200)), np.uint8)

    def _map_panel(self, state: DriveState, size: int) -> Image:
        f = self._frame
        scale = size / max(f.rows, f.columns)
        height, width = int(f.rows * scale), int(f.columns * scale)
        panel = np.full((size, size, 3), 255, np.uint8)
        ground = cv2.resize(self._ground, (width, height), interpolation=cv2.INTER_AREA)
        top, left = (size - height) // 2, (size - width) // 2
        panel[top : top + height, left : left + width] = ground

        def pixels(points: npt.ArrayLike) -> npt.NDArray[np.int32]:
            xy = np.asarray(points, np.float64).reshape(-1, 2)
            columns = (xy[:, 0] - f.x0) / f.cell * scale + left
            rows = (f.y1 - xy[:, 1]) / f.cell * scale + top
            return np.round(np.stack([columns, rows], axis=1)).astype(np.int32)

        thick = max(1, size // 240)
        for column, row in pixels(state.scan):
            cv2.circle(panel, (int(column), int(row)), thick, _SCAN, -1)
        if len(state.plan) > 1:
            cv2.polylines(panel, [pixels(state.plan)], False, _PLAN, thick, cv2.LINE_AA)
        if len(self._driven) > 1:
            cv2.polylines(panel, [pixels(self._driven)], False, _PATH, 2 * thick, cv2.LINE_AA)
        if self._driven:
            cv2.circle(panel, tuple(int(v) for v in pixels(self._driven[0])[0]), 3 * thick, _PATH, thick, cv2.LINE_AA)
        if state.target is not None:
            cv2.drawMarker(
                panel, tuple(int(v) for v in pixels(state.target)[0]), _TARGET, cv2.MARKER_STAR, size // 20, 2 * thick
            )
        nose = state.pose.transform(np.array([(0.30, 0.0), (-0.2, 0.18), (-0.2, -0.18)]))
        cv2.fillPoly(panel, [pixels(nose)], (25, 25, 25), cv2.LINE_AA)
        return panel


def _text(
    image: Image, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int] = (255, 255, 255)
) -> None:
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
