"""Model names say what a thing is."""

import pytest

from mm_nav.sim.objects import name_material, name_parts, scene_objects
from mm_nav.sim.world import parse_world


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("red_barrel_1", ("barrel", "red")),
        ("TrashCan_02", ("bin", "")),
        ("blueOfficeChair", ("chair", "blue")),
        ("gray_couch", ("sofa", "grey")),
        ("brown_pallet_2", ("pallet", "brown")),
        ("aws_warehouse_PalletJackB_01", ("", "")),
        ("walls", ("", "")),
        ("ground_plane", ("", "")),
    ],
)
def test_name_parts(name: str, parts: tuple[str, str]) -> None:
    assert name_parts(name) == parts


@pytest.mark.parametrize(
    ("name", "material"),
    [("WoodenChair_3", "wood"), ("part_0_metal_visual", "metal"), ("part_0_visual", ""), ("red_barrel_1", "")],
)
def test_name_material(name: str, material: str) -> None:
    assert name_material(name) == material


def test_distance_is_to_the_surface() -> None:
    world = parse_world(
        """<sdf version="1.9"><world name="w"><model name="red_box_1"><static>true</static><pose>2 1 0.25 0 0 0</pose>
        <link name="l"><collision name="c"><geometry><box><size>1 0.5 0.5</size></box></geometry></collision></link>
        </model></world></sdf>"""
    )
    (item,) = scene_objects(world)
    assert item.distance(0.0, 1.0) == pytest.approx(1.5, abs=1e-6)
    assert item.distance(2.0, 3.25) == pytest.approx(2.0, abs=1e-6) and item.distance(2.0, 1.0) == 0.0
    assert item.center == pytest.approx((2.0, 1.0)) and item.size == pytest.approx((1.0, 0.5, 0.5))
