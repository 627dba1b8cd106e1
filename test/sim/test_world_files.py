"""Worlds of several files: includes, search paths, circles, paths that leave, meshes with units and textures."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import trimesh

from mm_nav.errors import WorldError
from mm_nav.sim.materials import decode_texture
from mm_nav.sim.world import load_world, parse_world

CUBE = "0 0 0 100 0 0 0 100 0 0 0 100"
TETRAHEDRON = "0 2 1 0 1 3 1 2 3 2 0 3"


def dae(
    unit: str = "<unit meter='0.01'/>", up: str = "Z_UP", node: str = "", texture: str = "", uv: bool = False
) -> str:
    diffuse = "<texture texture='pic' texcoord='t'/>" if texture else "<color>0.2 0.4 0.6 1</color>"
    image = (
        f"<library_images><image id='pic'><init_from>{texture}</init_from></image></library_images>" if texture else ""
    )
    coordinates = (
        "<source id='u'><float_array id='ua' count='2'>0.25 0.75</float_array><technique_common>"
        "<accessor source='#ua' count='1' stride='2'/></technique_common></source>"
        if uv
        else ""
    )
    indices = " ".join(f"{i} 0" for i in TETRAHEDRON.split()) if uv else TETRAHEDRON
    uv_input = "<input semantic='TEXCOORD' source='#u' offset='1'/>" if uv else ""
    return (
        f"<COLLADA xmlns='http://www.collada.org/2005/11/COLLADASchema' version='1.4.1'><asset>{unit}<up_axis>{up}"
        f"</up_axis>"
        f"</asset>{image}<library_effects><effect id='e'><profile_COMMON><technique sid='c'><lambert>"
        f"<diffuse>{diffuse}"
        "</diffuse></lambert></technique></profile_COMMON></effect></library_effects><library_materials>"
        "<material id='Map #1'><instance_effect url='#e'/></material></library_materials><library_geometries>"
        f"<geometry id='g'><mesh><source id='p'><float_array id='pa' count='12'>{CUBE}</float_array>"
        f"<technique_common>"
        "<accessor source='#pa' count='4' stride='3'/></technique_common></source>"
        f"{coordinates}<vertices id='v'><input semantic='POSITION' source='#p'/></vertices><triangles count='4'"
        f" material='m'>"
        f"<input semantic='VERTEX' source='#v' offset='0'/>{uv_input}<p>{indices}</p></triangles></mesh></geometry>"
        "</library_geometries><library_visual_scenes><visual_scene id='same'><node id='same' name='part'>"
        f"{node}<instance_geometry url='#g'><bind_material><technique_common><instance_material symbol='m'"
        f" target='#Map #1'/>"
        "</technique_common></bind_material></instance_geometry></node></visual_scene></library_visual_scenes>"
        "<scene><instance_visual_scene url='#same'/></scene></COLLADA>"
    )


def mesh_world(uri: str, extra: str = "", tag: str = "visual") -> str:
    return (
        f"<sdf version='1.7'><world name='w'><model name='m'><link name='l'><{tag} name='v'><geometry><mesh>"
        f"<uri>{uri}</uri>{extra}"
        f"</mesh></geometry></{tag}></link></model></world></sdf>"
    )


def write_model(folder: Path, body: str, name: str = "inner") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.config").write_text("<model><sdf version='1.5'>model.sdf</sdf></model>")
    (folder / "model.sdf").write_text(f"<sdf version='1.5'><model name='{name}'>{body}</model></sdf>")


BOX_LINK = "<link name='l'><visual name='v'><geometry><box><size>1 1 1</size></box></geometry></visual></link>"


def include(uri: str, extra: str = "") -> str:
    return f"<include><uri>{uri}</uri>{extra}</include>"


def sdf(body: str) -> str:
    return f"<sdf version='1.8'><world name='w'>{body}</world></sdf>"


def test_include_overrides_name_pose_and_static(tmp_path: Path) -> None:
    write_model(tmp_path / "box", f"<pose>9 9 9 0 0 0</pose>{BOX_LINK}")
    extra = "<name>mine</name><pose>1 2 3 0 0 0</pose><static>true</static>"
    found = parse_world(sdf(include("model://box", extra)), search_paths=[tmp_path]).models[0]
    assert found.name == "mine" and found.static
    assert np.allclose(found.pose[:3, 3], [1, 2, 3])


def test_include_without_a_pose_keeps_the_models_own(tmp_path: Path) -> None:
    write_model(tmp_path / "box", f"<pose>9 8 7 0 0 0</pose>{BOX_LINK}")
    found = parse_world(sdf(include("model://box")), search_paths=[tmp_path]).models[0]
    assert np.allclose(found.pose[:3, 3], [9, 8, 7])


def test_models_beside_the_worlds_folder_are_found(tmp_path: Path) -> None:
    write_model(tmp_path / "models" / "box", BOX_LINK)
    write_model(tmp_path / "models" / "group" / "deep", BOX_LINK)
    (tmp_path / "worlds").mkdir()
    uris = ("model://box", "../models/box", "file://box", "model://group/deep", "model://deep")
    (tmp_path / "worlds" / "a.world").write_text(
        sdf("".join(include(uri, f"<name>{i}</name>") for i, uri in enumerate(uris)))
    )
    loaded = load_world(tmp_path / "worlds" / "a.world")
    assert loaded.missing == ()
    assert [m.name for m in loaded.models] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("variable", ["GZ_SIM_RESOURCE_PATH", "SDF_PATH", "GAZEBO_MODEL_PATH"])
def test_search_paths_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    write_model(tmp_path / "box", BOX_LINK)
    text = sdf(include("model://box"))
    assert parse_world(text).missing == ("model://box",)
    monkeypatch.setenv(variable, f"/nonexistent:{tmp_path}")
    assert parse_world(text).missing == ()


def test_relative_uris_start_at_the_included_model(tmp_path: Path) -> None:
    mesh = "<visual name='v'><geometry><mesh><uri>meshes/a.dae</uri></mesh></geometry></visual>"
    write_model(tmp_path / "thing", f"<link name='l'>{mesh}</link>")
    (tmp_path / "thing" / "meshes").mkdir()
    (tmp_path / "thing" / "meshes" / "a.dae").write_text(dae())
    loaded = parse_world(sdf(include("model://thing")), search_paths=[tmp_path])
    assert loaded.missing == () and loaded.geometry_count == 1


def test_newest_version_of_a_model_is_taken(tmp_path: Path) -> None:
    write_model(tmp_path / "box", BOX_LINK)
    (tmp_path / "box" / "old.sdf").write_text("<sdf version='1.4'><model name='old'/></sdf>")
    (tmp_path / "box" / "model.config").write_text(
        "<model><sdf version='1.4'>old.sdf</sdf><sdf version='1.10'>model.sdf</sdf><sdf version='1.9'>old.sdf</sdf>"
        "</model>"
    )
    assert parse_world(sdf(include("model://box")), search_paths=[tmp_path]).geometry_count == 1


def test_merge_include_puts_the_links_into_the_model(tmp_path: Path) -> None:
    write_model(tmp_path / "arm", f"<pose>0 0 1 0 0 0</pose>{BOX_LINK}")
    body = "<model name='m'><pose>5 0 0 0 0 0</pose><include merge='true'><uri>model://arm</uri></include></model>"
    loaded = parse_world(sdf(body), search_paths=[tmp_path])
    assert [m.name for m in loaded.models] == ["m"]
    assert np.allclose(loaded.models[0].visuals[0].pose[:3, 3], [5, 0, 1])


def test_merge_include_at_a_placement_frame(tmp_path: Path) -> None:
    frame = "<frame name='top'><pose>0 0 2 0 0 1.5707963267948966</pose></frame>"
    write_model(tmp_path / "arm", f"<pose>9 9 9 0 0 0</pose>{frame}{BOX_LINK}")
    body = (
        "<model name='m'><pose>5 0 0 0 0 0</pose><include merge='true'><uri>model://arm</uri>"
        "<placement_frame>top</placement_frame><pose>0 1 0 0 0 0</pose></include></model>"
    )
    pose = parse_world(sdf(body), search_paths=[tmp_path]).models[0].visuals[0].pose
    assert np.allclose(pose[:3, 3], [5, 1, -2])
    assert np.allclose(pose[:3, 0], [0, -1, 0])


def test_model_file_on_its_own_finds_its_neighbours(tmp_path: Path) -> None:
    write_model(tmp_path / "a", f"{include('b')}{include('thing.toml')}{BOX_LINK}")
    write_model(tmp_path / "b", BOX_LINK)
    (tmp_path / "a" / "thing.toml").write_text("x = 1")
    loaded = load_world(tmp_path / "a" / "model.sdf")
    assert [m.name for m in loaded.models] == ["inner", "inner::inner"]
    assert loaded.missing == () and loaded.unsupported == ("include thing.toml",)


def test_circle_of_includes_is_named(tmp_path: Path) -> None:
    write_model(tmp_path / "a", include("model://b"))
    write_model(tmp_path / "b", include("model://a"))
    with pytest.raises(WorldError, match="includes itself"):
        parse_world(sdf(include("model://a")), search_paths=[tmp_path])


@pytest.mark.parametrize(
    "uri",
    [
        "model://../secret",
        "../../secret/model.sdf",
        "../../../nowhere.sdf",
        "file://{folder}/secret/model.sdf",
        "{folder}/secret/model.sdf",
        "model://link",
        "model://dir/model.sdf",
    ],
)
def test_include_may_not_leave_the_search_paths(tmp_path: Path, uri: str) -> None:
    write_model(tmp_path / "secret", BOX_LINK)
    models = tmp_path / "open" / "models"
    (models / "link").mkdir(parents=True)
    (models / "link" / "model.sdf").symlink_to(tmp_path / "secret" / "model.sdf")
    (models / "dir").symlink_to(tmp_path / "secret")
    with pytest.raises(WorldError, match="outside the search paths"):
        parse_world(sdf(include(uri.format(folder=tmp_path))), base_dir=models)


def test_a_path_of_another_machine_is_missing_or_found_by_its_end(tmp_path: Path) -> None:
    write_model(tmp_path / "box", BOX_LINK)
    lost, moved = "file:///home/her/.gazebo/models/lost", "/home/her/.gazebo/models/box/model.sdf"
    loaded = parse_world(sdf(include(lost) + include(moved)), search_paths=[tmp_path])
    assert loaded.missing == (lost,) and loaded.geometry_count == 1


@pytest.mark.parametrize(
    "uri",
    [
        "model://Box",
        "model://two%20words",
        "model://two words",
        "model://models/box",
        "package://robot_worlds/models/box",
        "package://its_own_name/models/box",
        "model://its_own_name/models/box",
        "file://models/box/model.sdf",
        "https://fuel.gazebosim.org/1.0/OpenRobotics/models/Two words/3",
        "../models/box/",
    ],
)
def test_uris_as_they_are_written_in_the_wild(tmp_path: Path, uri: str) -> None:
    package = tmp_path / "robot_worlds"
    write_model(package / "models" / "box", BOX_LINK)
    write_model(package / "models" / "two words", BOX_LINK)
    (package / "package.xml").write_text("<package><name>its_own_name</name></package>")
    (package / "worlds" / "indoor").mkdir(parents=True)
    place = package / "worlds" if uri.startswith("..") else package / "worlds" / "indoor"
    (place / "a.world").write_text(sdf(include(uri)))
    assert load_world(place / "a.world").missing == ()


def test_models_that_gazebo_fetched_before_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version, size in (("2", "1 1 1"), ("10", "3 3 3")):
        folder = tmp_path / "fuel.gazebosim.org" / "openrobotics" / "models" / "big chair" / version
        write_model(folder, BOX_LINK.replace("1 1 1", size))
    monkeypatch.setenv("GZ_FUEL_CACHE_PATH", str(tmp_path))
    loaded = parse_world(sdf(include("https://fuel.gazebosim.org/1.0/OpenRobotics/models/Big Chair")))
    assert loaded.models[0].bounds()[1, 0] == 1.5


def test_includes_that_unfold_without_end_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path / "level0", BOX_LINK)
    for level in range(1, 10):
        body = "".join(include(f"model://level{level - 1}", f"<name>m{i}</name>") for i in range(10))
        write_model(tmp_path / f"level{level}", body)
    with pytest.raises(WorldError, match="unfold"):
        parse_world(sdf(include("model://level9")), search_paths=[tmp_path])


def test_mesh_and_texture_may_not_leave_the_search_paths(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "a.dae").write_text(dae())
    with pytest.raises(WorldError, match="outside the search paths"):
        parse_world(mesh_world("../a.dae"), base_dir=inside)
    cv2.imwrite(str(tmp_path / "pic.png"), np.zeros((4, 4, 3), np.uint8))
    (inside / "b.dae").write_text(dae(texture="../pic.png", uv=True))
    loaded = parse_world(mesh_world("b.dae"), base_dir=inside)
    assert loaded.missing == ("texture pic.png of b.dae",)


def test_broken_included_file_is_named(tmp_path: Path) -> None:
    write_model(tmp_path / "bad", "<link")
    with pytest.raises(WorldError, match=r"model\.sdf.*well-formed"):
        parse_world(sdf(include("model://bad")), search_paths=[tmp_path])


def test_missing_world_and_missing_folder() -> None:
    with pytest.raises(WorldError, match="no such file"):
        load_world("/nonexistent/a.world")
    with pytest.raises(WorldError, match="not a folder"):
        parse_world(sdf(""), search_paths=[Path("/nonexistent")])


# Meshes


@pytest.mark.parametrize(
    ("unit", "size"), [("<unit meter='0.01'/>", 1.0), ("<unit meter='0.0254'/>", 2.54), ("", 100.0)]
)
def test_collada_unit(tmp_path: Path, unit: str, size: float) -> None:
    (tmp_path / "a.dae").write_text(dae(unit))
    bounds = parse_world(mesh_world("a.dae"), base_dir=tmp_path).models[0].bounds()
    assert np.allclose(bounds, [[0, 0, 0], [size, size, size]])


def test_collada_up_axis_is_left_alone_as_in_gazebo(tmp_path: Path) -> None:
    node = "<matrix>1 0 0 0 0 1 0 0 0 0 3 0 0 0 0 1</matrix>"
    (tmp_path / "a.dae").write_text(dae(up="Y_UP", node=node))
    assert np.allclose(parse_world(mesh_world("a.dae"), base_dir=tmp_path).models[0].bounds()[1], [1, 1, 3])


def test_collada_node_transforms_apply_in_order(tmp_path: Path) -> None:
    node = "<translate>100 0 0</translate><rotate>0 0 1 90</rotate><scale>2 1 1</scale>"
    (tmp_path / "a.dae").write_text(dae(node=node))
    bounds = parse_world(mesh_world("a.dae"), base_dir=tmp_path).models[0].bounds()
    assert np.allclose(bounds, [[0, 0, 0], [1, 2, 1]])


def test_collada_node_with_a_matrix_is_placed_by_it_alone_as_in_gazebo(tmp_path: Path) -> None:
    node = "<matrix>1 0 0 0 0 1 0 0 0 0 3 0 0 0 0 1</matrix><translate>100 0 0</translate><scale>2 2 2</scale>"
    (tmp_path / "a.dae").write_text(dae(node=node))
    bounds = parse_world(mesh_world("a.dae", "<scale>2</scale>"), base_dir=tmp_path).models[0].bounds()
    assert np.allclose(bounds, [[0, 0, 0], [2, 2, 6]])


def test_mesh_scale_submesh_and_center(tmp_path: Path) -> None:
    (tmp_path / "a.dae").write_text(dae())
    extra = "<scale>1 2 3</scale><submesh><name>part</name><center>true</center></submesh>"
    bounds = parse_world(mesh_world("a.dae", extra), base_dir=tmp_path).models[0].bounds()
    assert np.allclose(bounds, [[-0.5, -1, -1.5], [0.5, 1, 1.5]])
    other = parse_world(mesh_world("a.dae", "<submesh><name>no</name></submesh>"), base_dir=tmp_path)
    assert other.missing == ("a.dae submesh no",)


def test_collada_colour_and_the_sdf_material_that_replaces_it(tmp_path: Path) -> None:
    (tmp_path / "a.dae").write_text(dae())
    text = mesh_world("a.dae")
    assert parse_world(text, base_dir=tmp_path).models[0].visuals[0].material.diffuse == (0.2, 0.4, 0.6)
    own = text.replace("</geometry>", "</geometry><material><diffuse>1 0 0 1</diffuse></material>")
    assert parse_world(own, base_dir=tmp_path).models[0].visuals[0].material.diffuse == (1.0, 0.0, 0.0)


def test_collada_texture_is_found_where_gazebo_looks(tmp_path: Path) -> None:
    (tmp_path / "thing" / "meshes").mkdir(parents=True)
    (tmp_path / "thing" / "materials" / "textures").mkdir(parents=True)
    picture = np.full((4, 4, 3), (10, 20, 200), np.uint8)  # blue, green, red
    cv2.imwrite(str(tmp_path / "thing" / "materials" / "textures" / "pic.png"), picture)
    (tmp_path / "thing" / "meshes" / "a.dae").write_text(dae(texture="C:\\art\\pic.png", uv=True))
    loaded = parse_world(mesh_world("model://thing/meshes/a.dae"), search_paths=[tmp_path])
    texture = loaded.models[0].visuals[0].material.texture
    assert texture is not None and texture[0, 0].tolist() == [200, 20, 10]
    assert loaded.models[0].visuals[0].parts[0].uv is not None


def test_textures_of_collisions_are_not_missed_and_those_of_visuals_are(tmp_path: Path) -> None:
    (tmp_path / "a.dae").write_text(dae(texture="pic.png", uv=True))
    assert parse_world(mesh_world("a.dae", tag="collision"), base_dir=tmp_path).missing == ()
    assert parse_world(mesh_world("a.dae"), base_dir=tmp_path).missing == ("texture pic.png of a.dae",)
    glow = "<emission><color>1 1 1 1</color></emission>"
    for texture, emissive in (("pic.png", 0.0), ("", 1.0)):  # the glow of a textured surface is an exporter's mistake
        (tmp_path / "a.dae").write_text(dae(texture=texture, uv=True).replace("<lambert>", f"<lambert>{glow}"))
        seen = parse_world(mesh_world("a.dae"), base_dir=tmp_path).models[0].visuals[0]
        assert seen.material.emissive == (emissive,) * 3


def test_texture_path_that_climbs_too_far_is_found_by_its_end(tmp_path: Path) -> None:
    package = tmp_path / "house"
    for folder in ("models/thing", "photos", "worlds"):
        (package / folder).mkdir(parents=True)
    (package / "package.xml").write_text("<package/>")
    cv2.imwrite(str(package / "photos" / "pic.png"), np.zeros((4, 4, 3), np.uint8))
    (package / "models" / "thing" / "a.dae").write_text(dae(texture="../../../../photos/pic.png", uv=True))
    (package / "worlds" / "a.world").write_text(mesh_world("model://thing/a.dae"))
    loaded = load_world(package / "worlds" / "a.world")
    assert loaded.missing == () and loaded.models[0].visuals[0].material.texture is not None


def test_script_materials_by_gazebo_name_and_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "materials" / "scripts").mkdir(parents=True)
    (tmp_path / "materials" / "textures").mkdir()
    (tmp_path / "materials" / "scripts" / "a.material").write_text(
        "material Mine/Base\n{ technique { pass { diffuse 0.5 0.25 1 1\n texture_unit { texture pic.png } } } }\n"
    )
    cv2.imwrite(str(tmp_path / "materials" / "textures" / "pic.png"), np.full((2, 2, 3), 99, np.uint8))
    script = "<script><uri>file://materials/scripts</uri><uri>file://materials/textures</uri><name>{}</name></script>"
    text = sdf(f"<model name='m'>{BOX_LINK}</model>")

    def material(name: str) -> object:
        changed = text.replace("</geometry>", f"</geometry><material>{script.format(name)}</material>")
        return parse_world(changed, search_paths=[tmp_path]).models[0].visuals[0].material

    mine, orange = material("Mine/Base"), material("Gazebo/Orange")
    assert mine.diffuse == (0.5, 0.25, 1.0) and mine.texture.shape == (2, 2, 3)
    assert orange.diffuse[0] == 1.0 and orange.texture is None


def test_texture_scale_of_a_script_repeats_the_texture_about_its_middle(tmp_path: Path) -> None:
    (tmp_path / "a.material").write_text(
        "material Tiled\n{ technique { pass { texture_unit\n{\n texture pic.png\n scale 0.1 0.5\n} } } }\n"
    )
    cv2.imwrite(str(tmp_path / "pic.png"), np.full((2, 2, 3), 99, np.uint8))
    material = "<material><script><uri>a.material</uri><name>Tiled</name></script></material>"
    text = sdf(f"<model name='m'>{BOX_LINK.replace('</geometry>', '</geometry>' + material)}</model>")
    uv = parse_world(text, base_dir=tmp_path).models[0].visuals[0].parts[0].uv
    assert uv is not None
    assert np.allclose([uv.min(axis=(0, 1)), uv.max(axis=(0, 1))], [[-4.5, -0.5], [5.5, 1.5]])


def test_obj_with_colours_and_stl(tmp_path: Path) -> None:
    (tmp_path / "a.mtl").write_text("newmtl red\nKd 1 0 0\n")
    (tmp_path / "a.obj").write_text("mtllib a.mtl\nv 0 0 0\nv 2 0 0\nv 0 3 0\nusemtl red\nf 1 2 3\n")
    found = parse_world(mesh_world("a.obj"), base_dir=tmp_path).models[0]
    assert np.allclose(found.bounds()[1], [2, 3, 0])
    assert found.visuals[0].material.diffuse == (1.0, 0.0, 0.0)
    triangle = struct.pack("<12fH", 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 5, 0, 0)
    (tmp_path / "a.stl").write_bytes(b"\0" * 80 + struct.pack("<I", 1) + triangle)
    found = parse_world(mesh_world("a.stl"), base_dir=tmp_path).models[0]
    assert np.allclose(found.bounds()[1], [4, 5, 0])


def test_glb_with_colour_and_texture_keeps_its_axes(tmp_path: Path) -> None:
    plain = trimesh.creation.box((1.0, 2.0, 3.0))
    plain.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[0, 255, 0, 255])
    )
    picture = PIL.Image.fromarray(np.full((2, 2, 3), (200, 100, 50), np.uint8))
    textured = trimesh.creation.box((1.0, 1.0, 1.0))
    textured.visual = trimesh.visual.TextureVisuals(
        uv=np.zeros((8, 2)), material=trimesh.visual.material.PBRMaterial(baseColorTexture=picture)
    )
    textured.apply_translation((5.0, 0.0, 0.0))
    (tmp_path / "a.glb").write_bytes(trimesh.Scene({"plain": plain, "textured": textured}).export(file_type="glb"))
    found = parse_world(mesh_world("a.glb"), base_dir=tmp_path).models[0]
    assert np.allclose(found.bounds(), [[-0.5, -1.0, -1.5], [5.5, 1.0, 1.5]])
    materials = [part.material for part in found.visuals[0].parts]
    assert materials[0].texture is None and np.allclose(materials[0].diffuse, (0, 1, 0))
    assert materials[1].texture is not None and materials[1].texture[0, 0].tolist() == [200, 100, 50]
    assert np.allclose(materials[1].diffuse, (1, 1, 1))


def test_a_picture_that_unpacks_to_gigapixels_is_not_unpacked(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    assert decode_texture(np.frombuffer(png + b"\0" * 64, np.uint8)) is None
    small = cv2.imencode(".png", np.full((3, 5, 3), 7, np.uint8))[1]
    decoded = decode_texture(small)
    assert decoded is not None and decoded.shape == (3, 5, 3)


LYING_GLB = b"glTF" + struct.pack("<IIII", 2, 2**31, 2**31, 0x4E4F534A) + b"{}"
BOMB_DAE = b"<!DOCTYPE C [<!ENTITY a 'aa'>]><COLLADA>&a;</COLLADA>"


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("huge.stl", b"\0" * 80 + struct.pack("<I", 2**32 - 1) + b"\0" * 50, "promises 4294967295 triangles"),
        ("huge.glb", LYING_GLB, "promises 2147483668 bytes"),
        ("chunk.glb", b"glTF" + struct.pack("<IIII", 2, 34, 2, 0x4E4F534A) + b"{}  " + b"\xff" * 10, "promises"),
        ("bomb.dae", BOMB_DAE, "entities"),
    ],
)
def test_hostile_meshes_give_one_clear_error(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WorldError) as caught:
        parse_world(mesh_world(name), base_dir=tmp_path)
    assert says in str(caught.value) and name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("short.stl", b"\0" * 10, "too short"),
        ("none.stl", b"\0" * 84, "no triangles"),
        ("text.stl", b"solid a\nfacet normal 0 0 1\nvertex 1 2 3\nendfacet", "three for each facet"),
        ("nan.stl", b"\0" * 80 + struct.pack("<I", 1) + struct.pack("<12fH", *[float("nan")] * 12, 0), "no triangles"),
        ("bad.glb", b"hello", "not a binary glTF"),
        ("other.gltf", b"[1, 2]", "contradict"),
        ("deep.gltf", b"[" * 100_000, "contradict"),
        ("bad.obj", b"v 0 0 0\nf 1 2 9\n", "names vertex 9 of 1"),
        ("absurd.obj", b"v 0 0 0\nf 1 2 99999999999999999999999\n", "no numbers"),
        ("back.obj", b"v 0 0 0\nf -1 -2 -3\n", "names vertex"),
        ("word.obj", b"v 0 0 x\nf 1 1 1\n", "not a list of numbers"),
        ("bad.dae", b"<COLLADA", "well-formed"),
        ("empty.dae", b"", "well-formed"),
        ("other.dae", b"<html/>", "not <COLLADA>"),
        ("index.dae", dae().replace(TETRAHEDRON, "0 1 77").encode(), "COLLADA arrays"),
        ("pointer.dae", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
)
def test_a_damaged_mesh_is_listed_with_the_reason_and_the_rest_loads(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(data)
    rest = f"<model name='rest'>{BOX_LINK}</model></world>"
    loaded = parse_world(mesh_world(name).replace("</world>", rest), base_dir=tmp_path)
    assert loaded.geometry_count == 1
    assert len(loaded.missing) == 1 and loaded.missing[0].startswith(f"{name} (") and says in loaded.missing[0]
    assert str(tmp_path) not in loaded.missing[0]


def test_a_mesh_of_an_unknown_kind_is_not_supported(tmp_path: Path) -> None:
    (tmp_path / "a.blend").write_bytes(b"BLENDER")
    assert parse_world(mesh_world("a.blend"), base_dir=tmp_path).unsupported == ("mesh type .blend (a.blend)",)


# COLLADA beyond the simple case


def test_collada_bones_nan_nodes_and_stray_quotes_do_not_stop_it(tmp_path: Path) -> None:
    nan = "<node name='<bone>'><matrix>NaN 0 0 0 NaN 0 0 0 NaN 0 0 0 NaN 0 0 1</matrix></node>"
    (tmp_path / "a.dae").write_text(dae(node=nan))
    assert np.allclose(parse_world(mesh_world("a.dae"), base_dir=tmp_path).models[0].bounds()[1], [1, 1, 1])


def test_collada_skin_stands_as_it_was_bound(tmp_path: Path) -> None:
    skin = (
        "<library_controllers><controller id='k'><skin source='#g'><bind_shape_matrix>1 0 0 500 0 1 0 0 0 0 1 0 0 0 0 1"
        "</bind_shape_matrix></skin></controller></library_controllers><library_visual_scenes>"
    )
    text = (
        dae()
        .replace("<library_visual_scenes>", skin)
        .replace("instance_geometry url='#g'", "instance_controller url='#k'")
    )
    (tmp_path / "a.dae").write_text(text.replace("</instance_geometry>", "</instance_controller>"))
    assert np.allclose(parse_world(mesh_world("a.dae"), base_dir=tmp_path).models[0].bounds()[:, 0], [5, 6])


@pytest.mark.parametrize(
    ("text", "opacity"),
    [
        ("<transparent opaque='A_ONE'><color>1 1 1 0.4</color></transparent>", 0.4),
        (
            "<transparent opaque='RGB_ZERO'><color>1 1 1 1</color></transparent>"
            "<transparency><float>0.25</float></transparency>",
            0.75,
        ),
        ("<transparency><float>0</float></transparency>", 1.0),
    ],
)
def test_collada_transparency(tmp_path: Path, text: str, opacity: float) -> None:
    (tmp_path / "a.dae").write_text(dae().replace("</lambert>", f"{text}</lambert>"))
    found = parse_world(mesh_world("a.dae"), base_dir=tmp_path).models[0].visuals[0].material
    assert found.opacity == pytest.approx(opacity, abs=1e-6)


def test_surfaces_that_cannot_be_seen_are_left_out(tmp_path: Path) -> None:
    clear = "<transparent opaque='A_ONE'><color>1 1 1 0</color></transparent>"
    (tmp_path / "a.dae").write_text(dae().replace("</lambert>", f"{clear}</lambert>"))
    assert not parse_world(mesh_world("a.dae"), base_dir=tmp_path).models
    # A fence: the texture is solid at the left of u = 0.5 only; one triangle lies on each side.
    picture = np.full((8, 8, 4), 255, np.uint8)
    picture[:, 4:, 3] = 0
    cv2.imwrite(str(tmp_path / "fence.png"), picture)
    (tmp_path / "a.mtl").write_text("newmtl m\nKd 1 1 1\nmap_Kd fence.png\nmap_d fence.png\n")
    (tmp_path / "a.obj").write_text(
        "mtllib a.mtl\nusemtl m\nv 0 0 0\nv 1 0 0\nv 0 1 0\nv 5 0 0\nvt 0.1 0\nvt 0.4 0\nvt 0.4 1\nvt 0.6 0\nvt 0.9 0\n"
        "vt 0.9 1\nf 1/1 2/2 3/3\nf 1/4 4/5 3/6\n"
    )
    assert parse_world(mesh_world("a.obj"), base_dir=tmp_path).models[0].bounds()[1, 0] == 1.0
    shapes = "".join(
        f"<visual name='{k}'><geometry><mesh><uri>a.obj</uri><scale>1 1 {k}</scale></mesh></geometry></visual>"
        for k in (1, 2)
    )
    first, second = (
        parse_world(sdf(f"<model name='m'><link name='l'>{shapes}</link></model>"), tmp_path).models[0].visuals
    )
    assert first.material.texture is not None and first.material.texture is second.material.texture  # memory


# OBJ, STL and glTF beyond the simple case


def test_obj_objects_are_submeshes_and_polygons_are_cut(tmp_path: Path) -> None:
    (tmp_path / "a.mtl").write_text("newmtl glass pane\nKd 0 0 1\nd 0.5\n")
    (tmp_path / "a.obj").write_text(
        "mtllib a.mtl\no first\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\no second\nusemtl glass pane\n"
        "v 5 0 0\nv 6 0 0\nv 6 1 0\nf -3//1 -2//1 -1//1\n"
    )
    whole = parse_world(mesh_world("a.obj"), base_dir=tmp_path).models[0]
    assert np.allclose(whole.bounds()[1], [6, 1, 0]) and len(whole.visuals[0].triangles()) == 3
    part = parse_world(mesh_world("a.obj", "<submesh><name>second</name></submesh>"), base_dir=tmp_path).models[0]
    assert np.allclose(part.bounds()[:, 0], [5, 6])
    assert part.visuals[0].material.diffuse == (0, 0, 1) and part.visuals[0].material.opacity == 0.5


def test_stl_as_text(tmp_path: Path) -> None:
    facet = (
        "facet normal 0 0 1\n outer loop\n  vertex 0 0 0\n  vertex 1e0 0 0\n  VERTEX 0 2.5E-1 0\n endloop\nendfacet\n"
    )
    (tmp_path / "a.stl").write_text(f"solid thing\n{facet}endsolid thing\n")
    assert np.allclose(parse_world(mesh_world("a.stl"), base_dir=tmp_path).models[0].bounds()[1], [1, 0.25, 0])


HEIGHTMAP = (
    "<heightmap><uri>h.png</uri><size>20 10 4</size><pos>1 2 3</pos><texture><diffuse>low.png</diffuse><size>5</size>"
    "</texture><texture><diffuse>file://media/materials/textures/grass_diffusespecular.png</diffuse><size>5 5 9</size>"
    "</texture><blend><min_height>1</min_height><fade_dist>1</fade_dist></blend></heightmap>"
)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_heightmap_spans_its_size_and_has_a_texture_for_each_range(tmp_path: Path, kind: type) -> None:
    heights = np.zeros((5, 9), kind)
    heights[0, -1] = 200  # the corner at +x, +y
    cv2.imwrite(str(tmp_path / "h.png"), heights)
    cv2.imwrite(str(tmp_path / "low.png"), np.full((2, 2, 3), 50, np.uint8))
    shapes = "".join(f"<{tag} name='v'><geometry>{HEIGHTMAP}</geometry></{tag}>" for tag in ("visual", "collision"))
    loaded = parse_world(sdf(f"<model name='m'><link name='l'>{shapes}</link></model>"), base_dir=tmp_path)
    assert loaded.missing == () and loaded.unsupported == ()
    seen, solid = loaded.models[0].visuals[0], loaded.models[0].collisions[0]
    assert np.allclose(solid.bounds(), [[-9, -3, 3], [11, 7, 7]])
    top = solid.triangles().reshape(-1, 3)
    assert np.allclose(top[np.argmax(top[:, 2])], [11, 7, 7])
    assert all(np.cross(t[1] - t[0], t[2] - t[0])[2] > 0 for t in solid.triangles())
    low, high = seen.parts
    assert low.material is not None and low.material.texture is not None and low.uv is not None
    assert high.material is not None and high.material.texture is None and len(high.triangles) < len(low.triangles)


def test_elevation_model_stands_at_its_heights_and_holes_get_the_lowest(tmp_path: Path) -> None:
    heights = np.full((5, 5), 100.0, np.float32)
    heights[0, 0], heights[1, 1], heights[2, 2] = 120.0, -3.4e38, np.nan
    PIL.Image.fromarray(heights).save(tmp_path / "h.tif")
    shape = "<heightmap><uri>h.tif</uri><size>8 8 20</size></heightmap>"
    body = f"<model name='m'><link name='l'><collision name='c'><geometry>{shape}</geometry></collision></link></model>"
    bounds = parse_world(sdf(body), base_dir=tmp_path).models[0].bounds()
    assert np.allclose(bounds, [[-4, -4, 100], [4, 4, 120]])


def test_heightmap_that_cannot_be_read_is_listed(tmp_path: Path) -> None:
    body = "<model name='m'><link name='l'><collision name='c'><geometry>{}</geometry></collision></link></model>"
    assert parse_world(sdf(body.format(HEIGHTMAP)), base_dir=tmp_path).missing == ("h.png",)
    (tmp_path / "h.png").write_text("no picture")
    loaded = parse_world(sdf(body.format(HEIGHTMAP)), base_dir=tmp_path)
    assert loaded.unsupported == ("geometry heightmap (h.png)",) and loaded.geometry_count == 0


def test_gltf_nodes_names_and_lengths(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    turn = trimesh.transformations.rotation_matrix(np.pi / 2, (0, 0, 1), (0, 0, 0))
    turn[:3, 3] = (10, 0, 0)
    scene.add_geometry(trimesh.creation.box((4.0, 2.0, 1.0)), node_name="turned", transform=turn)
    data = scene.export(file_type="glb")
    (tmp_path / "a.glb").write_bytes(data)
    text = mesh_world("a.glb", "<submesh><name>turned</name></submesh>")
    assert np.allclose(parse_world(text, base_dir=tmp_path).models[0].bounds(), [[9, -2, -0.5], [11, 2, 0.5]])
    for old, new in ((b'"count":36', b'"count":99'), (b'"byteLength":', b'"byteLength":9')):
        assert old in data
        (tmp_path / "b.glb").write_bytes(data.replace(old, new))
        with contextlib.suppress(WorldError):
            assert parse_world(mesh_world("b.glb"), base_dir=tmp_path).geometry_count == 0
