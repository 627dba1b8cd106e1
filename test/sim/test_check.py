"""`mm-nav world check`: the report and its pictures."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mm_nav.errors import WorldError
from mm_nav.sim.check import check_world
from mm_nav.sim.check_views import top_view
from mm_nav.sim.scene import Scene
from mm_nav.sim.world import parse_world

BOX = "<geometry><box><size>{}</size></box></geometry>"


def model(name: str, size: str, pose: str, colour: str) -> str:
    geometry = BOX.format(size)
    return (
        f"<model name='{name}'><pose>{pose}</pose><link name='l'><visual name='v'>{geometry}<material>"
        f"<diffuse>{colour}</diffuse>"
        f"</material></visual><collision name='c'>{geometry}</collision></link></model>"
    )


ROOM = (
    "<include><uri>model://ground_plane</uri></include><include><uri>model://lost</uri></include>"
    + model("red", "1 1 1", "2 1 0.5 0 0 0", "1 0 0 1")
    + model("wall", "0.1 6 2.5", "4 0 1.25 0 0 0", "0 1 0 1")
    + model("other", "0.1 6 2.5", "-4 0 1.25 0 0 0", "0 0 1 1")
)
ROOF = model("roof", "9 7 0.1", "0 0 2.6 0 0 0", "0.1 0.1 0.1 1")


def test_report_and_pictures(tmp_path: Path) -> None:
    (tmp_path / "room.world").write_text(
        f"<sdf version='1.8'><world name='room'>{ROOM}<plugin name='p'/></world></sdf>"
    )
    report = check_world(tmp_path / "room.world", out_dir=tmp_path / "out")
    values = json.loads(json.dumps(report.as_dict()))
    assert values["loaded"] == 8 and values["models"] == 4 and values["visuals"] == 4
    assert values["missing"] == ["model://lost"] and values["unsupported"] == ["plugin p"]
    assert [Path(p).name for p in values["pictures"]] == ["room_top.png", "room_camera.png"]
    for path in values["pictures"]:
        picture = cv2.imread(path)
        assert picture is not None and picture.std() > 10
    assert check_world(tmp_path / "room.world").pictures == ()


def test_top_view_is_a_map_and_takes_the_roof_off() -> None:
    def top(body: str) -> np.ndarray:
        return top_view(Scene(parse_world(f"<sdf version='1.8'><world name='w'>{body}</world></sdf>")), side=200)

    tiles = "".join(model(f"t{k}", "2.2 7 0.1", f"{2.25 * k - 3.4} 0 2.6 0 0 0", "0.1 0.1 0.1 1") for k in range(4))
    plane = ROOF.replace("<box><size>9 7 0.1</size></box>", "<plane><size>9 7</size></plane>")
    for picture in (top(ROOM), top(ROOM + ROOF), top(ROOM + tiles), top(ROOM + plane)):
        red = np.argwhere((picture[..., 0] > 120) & (picture[..., 1] < 40) & (picture[..., 2] < 40))
        row, column = red.mean(axis=0) / picture.shape[:2]
        assert row < 0.48 and 0.6 < column < 0.8  # at x = 2, y = 1: right of the middle and above it


def test_unwritable_folder_gives_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "w.sdf").write_text("<sdf version='1.8'><world name='w'/></sdf>")
    (tmp_path / "file").write_text("")
    with pytest.raises(WorldError, match="cannot be written"):
        check_world(tmp_path / "w.sdf", out_dir=tmp_path / "file" / "x")
