"""SDF as text: numbers, poses, frames and everything that can be wrong with a file."""

from __future__ import annotations

import numpy as np
import pytest

from mm_nav.errors import WorldError
from mm_nav.sim.sdf import numbers, parse_pose, rotation_rpy, transform
from mm_nav.sim.sdf_xml import parse_xml
from mm_nav.sim.world import parse_world

BOX = "<geometry><box><size>1 1 1</size></box></geometry>"
VISUAL = f"<visual name='v'>{BOX}</visual>"


def world(body: str, version: str = "1.8") -> str:
    return f"<sdf version='{version}'><world name='w'>{body}</world></sdf>"


def model(name: str, body: str) -> str:
    return f"<model name='{name}'>{body}</model>"


def pose_of(sdf: str, name: str = "m") -> np.ndarray:
    return parse_world(world(sdf)).model(name).visuals[0].pose


def test_rotation_is_about_fixed_x_then_y_then_z() -> None:
    rotation = rotation_rpy(0.3, -0.4, 1.1)
    x, y, z = rotation_rpy(0.3, 0, 0), rotation_rpy(0, -0.4, 0), rotation_rpy(0, 0, 1.1)
    assert np.allclose(rotation, z @ y @ x)
    assert np.allclose(z @ [1, 0, 0], [np.cos(1.1), np.sin(1.1), 0])


@pytest.mark.parametrize(
    "text",
    [
        "<pose>1 2 3 0 0 1.5707963267948966</pose>",
        "<pose degrees='true'>1 2 3 0 0 90</pose>",
        "<pose rotation_format='quat_xyzw'>1 2 3 0 0 0.7071067811865476 0.7071067811865476</pose>",
        "<pose rotation_format='euler_rpy'>1 2+3 -0-0 1.5707963267948966</pose>",
    ],
)
def test_pose_formats(text: str) -> None:
    pose = parse_pose(parse_xml(text, "test"), "test")
    assert np.allclose(pose @ [1, 0, 0, 1], [1, 3, 3, 1])


def test_angles_that_are_left_out_are_zero() -> None:
    pose = parse_pose(parse_xml("<pose>1 2 3 0.5 0</pose>", "test"), "test")
    assert np.allclose(pose, transform(rotation_rpy(0.5, 0, 0), (1, 2, 3)))


def test_numbers_end_where_gazebos_stream_ends_them() -> None:
    assert numbers("6.0000006.5 -1e2-.5", "size").tolist() == [6.0000006, 0.5, -100.0, -0.5]
    with pytest.raises(WorldError, match="not a list of numbers"):
        numbers("1,2", "size")


def test_poses_add_up_from_model_over_link_to_visual() -> None:
    visual = f"<visual name='v'><pose>0 0 2 0 0 0</pose>{BOX}</visual>"
    body = f"<pose>1 0 0 0 0 1.5707963</pose><link name='l'><pose>1 0 0 0 0 0</pose>{visual}</link>"
    assert np.allclose(pose_of(model("m", body))[:3, 3], [1, 1, 2], atol=1e-6)


def test_pose_relative_to_a_sibling_link_and_a_frame() -> None:
    body = (
        "<link name='a'><pose relative_to='f'>1 0 0 0 0 0</pose></link>"
        "<frame name='f' attached_to='g'><pose>0 1 0 0 0 0</pose></frame>"
        "<frame name='g'><pose>0 0 1 0 0 1.5707963267948966</pose></frame>"
        f"<link name='b'><pose relative_to='a'>1 0 0 0 0 0</pose>{VISUAL}</link>"
    )
    assert np.allclose(pose_of(model("m", body))[:3, 3], [-1, 2, 1])


def test_pose_relative_to_another_model_and_into_a_nested_one() -> None:
    nested = model("inner", "<pose>0 1 0 0 0 0</pose><link name='arm'><pose>0 0 5 0 0 0</pose></link>")
    sdf = model("base", f"<pose>10 0 0 0 0 0</pose>{nested}") + model(
        "m", f"<pose relative_to='base::inner::arm'>1 0 0 0 0 0</pose><link name='l'>{VISUAL}</link>"
    )
    assert np.allclose(pose_of(sdf)[:3, 3], [11, 1, 5])


def test_placement_frame_puts_that_frame_at_the_pose() -> None:
    body = f"<pose>5 0 0 0 0 0</pose><frame name='top'><pose>0 0 2 0 0 0</pose></frame><link name='l'>{VISUAL}</link>"
    sdf = f"<model name='m' placement_frame='top'>{body}</model>"
    assert np.allclose(pose_of(sdf)[:3, 3], [5, 0, -2])


def test_nested_models_have_joined_names_and_inherit_static() -> None:
    inner = model("b", f"<pose>0 2 0 0 0 0</pose><link name='l'>{VISUAL}</link>")
    loaded = parse_world(world(model("a", f"<static>1</static><pose>1 0 0 0 0 0</pose>{inner}")))
    assert [m.name for m in loaded.models] == ["a::b"]
    assert loaded.models[0].static
    assert np.allclose(loaded.models[0].visuals[0].pose[:3, 3], [1, 2, 0])


def test_two_models_of_one_name_are_both_kept() -> None:
    one = model("m", f"<link name='l'>{VISUAL}</link>")
    assert [m.name for m in parse_world(world(one + one)).models] == ["m", "m_1"]


def test_unsupported_things_are_listed_once_and_the_rest_loads() -> None:
    odd = "<visual name='h'><geometry><image><uri>x</uri></image></geometry></visual>"
    sdf = world(
        "<plugin filename='p.so' name='my::Plugin'/><plugin filename='p.so' name='my::Plugin'/><actor name='bob'/>"
        + model("m", f"<link name='l'>{VISUAL}{odd}{odd}</link>")
    )
    loaded = parse_world(sdf)
    assert sorted(loaded.unsupported) == ["actor bob", "geometry image", "plugin my::Plugin"]
    assert loaded.geometry_count == 1


def test_missing_things_are_listed_once_and_the_rest_loads() -> None:
    include = "<include><uri>model://nowhere</uri></include>"
    fuel = "<include><uri>https://fuel.gazebosim.org/1.0/OpenRobotics/models/Chair</uri></include>"
    mesh = "<visual name='x'><geometry><mesh><uri>model://no/mesh.dae</uri></mesh></geometry></visual>"
    loaded = parse_world(world(include + include + fuel + model("m", f"<link name='l'>{VISUAL}{mesh}</link>")))
    assert sorted(loaded.missing) == [
        "https://fuel.gazebosim.org/1.0/OpenRobotics/models/Chair",
        "model://no/mesh.dae",
        "model://nowhere",
    ]
    assert loaded.geometry_count == 1


@pytest.mark.parametrize(
    "uri",
    [
        "model://ground_plane",
        "https://fuel.gazebosim.org/1.0/OpenRobotics/models/Ground Plane",
        "https://fuel.ignitionrobotics.org/1.0/openrobotics/models/Ground%20Plane/2",
    ],
)
def test_ground_plane_is_built_in(uri: str) -> None:
    loaded = parse_world(world(f"<include><uri>{uri}</uri><pose>0 0 1 0 0 0</pose></include>"))
    assert loaded.missing == ()
    assert loaded.models[0].is_plane
    assert loaded.models[0].collisions[0].pose[2, 3] == 1.0


def test_sun_is_built_in_and_lights_are_read() -> None:
    light = (
        "<light name='lamp' type='spot'><pose>0 0 3 0 0 0</pose><diffuse>1 0 0 1</diffuse><spot><inner_angle>0.2"
        "</inner_angle>"
        "<outer_angle>0.6</outer_angle></spot><attenuation><range>7</range><quadratic>0.5</quadratic></attenuation>"
        "</light>"
    )
    loaded = parse_world(world(f"<include><uri>model://sun</uri></include>{light}"))
    sun, lamp = loaded.lights
    assert sun.kind == "directional" and np.allclose(np.linalg.norm(sun.direction), 1)
    assert lamp.position == (0.0, 0.0, 3.0) and lamp.diffuse == (1.0, 0.0, 0.0)
    assert lamp.attenuation == (1.0, 1.0, 0.5, 7.0) and lamp.spot == (0.2, 0.6, 0.0)


def test_saved_state_moves_models_links_and_lights() -> None:
    still = model("still", f"<pose>9 9 9 0 0 0</pose><link name='l'><pose>0 0 1 0 0 0</pose>{VISUAL}</link>")
    inner = model("inner", f"<link name='l'>{VISUAL}</link>")
    moved = model("moved", f"<link name='l'><pose>0 0 1 0 0 0</pose>{VISUAL}</link>{inner}")
    lamp = "<light name='lamp' type='point'><pose>0 0 3 0 0 0</pose></light>"
    state = (
        "<state world_name='w'><model name='gone'><pose>1 1 1 0 0 0</pose></model>"
        "<model name='moved'><pose>5 0 0 0 0 1.5707963267948966</pose><link name='l'><pose>5 0 4 0 0 0</pose></link>"
        "<model name='inner'><pose>6 0 0 0 0 0</pose></model></model><light name='lamp'><pose>7 0 0 0 0 0</pose></light>"
        "</state><state><model name='still'><pose>0 0 0 0 0 0</pose></model></state>"
    )
    loaded = parse_world(world(still + moved + lamp + state))
    assert loaded.unsupported == ()
    assert loaded.model("still").visuals[0].pose[:3, 3].tolist() == [9, 9, 10]  # only the first state counts
    assert np.allclose(loaded.model("moved").visuals[0].pose[:3, :], [[1, 0, 0, 5], [0, 1, 0, 0], [0, 0, 1, 4]])
    assert loaded.model("moved::inner").visuals[0].pose[:3, 3].tolist() == [6, 0, 0]
    assert loaded.lights[0].position == (7, 0, 0)


def test_sizes_beyond_sense_are_refused() -> None:
    for shape in ("<sphere><radius>1e9</radius></sphere>", "<box><size>1 1e300 1</size></box>"):
        with pytest.raises(WorldError, match="above 1e"):
            parse_world(
                world(model("m", f"<link name='l'><visual name='v'><geometry>{shape}</geometry></visual></link>"))
            )
    with pytest.raises(WorldError, match="from the origin"):
        parse_world(world(model("m", f"<pose>1e20 0 0 0 0 0</pose><link name='l'>{VISUAL}</link>")))
    points = "".join(f"<point>{i} {i * i % 7}</point>" for i in range(6000))
    polyline = f"<visual name='v'><geometry><polyline>{points}</polyline></geometry></visual>"
    with pytest.raises(WorldError, match="6000 points"):
        parse_world(world(model("m", f"<link name='l'>{polyline}</link>")))


@pytest.mark.parametrize("version", ["1.4", "1.5", "1.6", "1.7", "1.8", "1.9", "1.10", "1.11"])
def test_versions(version: str) -> None:
    assert parse_world(world(model("m", f"<link name='l'>{VISUAL}</link>"), version)).geometry_count == 1


def test_undeclared_prefixes_are_read_as_gazebo_does() -> None:
    loaded = parse_world(
        world(
            "<gz:extra gz:kind='1'>5</gz:extra><gz::order>1</gz::order>" + model("m", f"<link name='l'>{VISUAL}</link>")
        )
    )
    assert loaded.geometry_count == 1


def test_careless_xml_is_read_as_gazebo_does() -> None:
    text = world("<!-- gz topic -t /x -- y --><!-- <broken> -->" + model("m", f"<link name='l'>{VISUAL}</link>"))
    assert parse_world("?xml version='1.0'?>\n" + text).geometry_count == 1


@pytest.mark.parametrize(
    "text",
    [
        "<sdf version='1.6'><world name=w><light name='a & b' name='c' type='point'/></world></sdf>",
        "<!-- by whom -->\n<?xml version='1.0'?><sdf version='1.6'><world name='w'/></sdf>\n</sdf>\n",
        "\r\n<sdf version='1.6'>\r\n<world name='<w>'/>\r\n</sdf>\r\n",
        "\ufeff<sdf version='1.6'><world name='w'/></sdf>".encode(),
        "\ufeff<sdf version='1.6'><world name='w'/></sdf>".encode("utf-16"),
        "<?xml version='1.0' encoding='UTF-8'?><!-- \xa9 --><sdf version='1.6'/>".encode("latin-1"),
        "<?xml version='1.0' encoding='gb2312'?><sdf version='1.6' name='\u4e2d'/>".encode("gb2312"),
        "<sdf version='1.6'><![CDATA[ a && <b> ]]><gz:c/></sdf>",
    ],
)
def test_xml_that_gazebos_parser_lets_pass(text: str | bytes) -> None:
    assert parse_xml(text, "test").get("version") == "1.6"


def test_deep_nesting_and_repairs_without_end_are_refused_quickly() -> None:
    for text in ("<a>" * 300_000 + "</a>" * 300_000, "<!--" * 300_000, "<a b='" * 100_000, "<a b=c" * 100_000):
        with pytest.raises(WorldError):
            parse_xml(text, "test")


def test_frames_in_a_model_that_was_not_found_do_not_stop_the_rest() -> None:
    body = f"<link name='l'><pose relative_to='lost::f'>1 0 0 0 0 0</pose>{VISUAL}</link>"
    loaded = parse_world(world(model("m", f"<include><name>lost</name><uri>model://nowhere</uri></include>{body}")))
    assert loaded.missing == ("model://nowhere",) and loaded.geometry_count == 1


BILLION = "<!DOCTYPE s [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><sdf version='1.6'><world name='&b;'/></sdf>"
EXTERNAL = (
    "<!DOCTYPE s [<!ENTITY x SYSTEM 'file:///etc/hostname'>]><sdf version='1.6'><world name='w'>&x;</world></sdf>"
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<sdf version='1.6'><world>", "not well-formed XML"),
        ("", "not well-formed XML"),
        ("\0\1\2", "not well-formed XML"),
        ("<robot name='r'/>", "is URDF"),
        ("<sdf><world name='w'/></sdf>", "no version"),
        ("<sdf version='3.0'><world name='w'/></sdf>", "SDF 3.0 is not read"),
        ("<sdf version='1.6'/>", "neither <world> nor <model>"),
        (BILLION, "entities"),
        (EXTERNAL, "entities"),
        (world("<include/>"), "no <uri>"),
        (world(model("m", "<pose>1 2</pose>")), "has 2 numbers, expected 6"),
        (world(model("m", "<pose>a b c d e f</pose>")), "not a list of numbers"),
        (world(model("m", "<pose>nan 0 0 0 0 0</pose>")), "not finite"),
        (
            world(model("m", f"<link name='l'><pose relative_to='zz'>0 0 0 0 0 0</pose>{VISUAL}</link>")),
            "no frame 'zz'",
        ),
        (world("<model><link name='l'/></model>"), "has no name"),
        (
            world(
                model(
                    "m",
                    "<link name='l'><visual name='v'><geometry><sphere><radius>-1</radius></sphere></geometry></visual>"
                    "</link>",
                )
            ),
            "must be above 0",
        ),
        (
            world(
                model(
                    "m",
                    "<frame name='a'><pose relative_to='b'>0 0 0 0 0 0</pose></frame><frame name='b'>"
                    f"<pose relative_to='a'>0 0 0 0 0 0</pose></frame><link name='l'><pose relative_to='a'/>{VISUAL}"
                    f"</link>",
                )
            ),
            "relative to itself",
        ),
    ],
)
def test_broken_text_gives_one_clear_error(text: str, says: str) -> None:
    with pytest.raises(WorldError) as caught:
        parse_world(text)
    assert says in str(caught.value)
    assert "&b;" not in str(caught.value)
