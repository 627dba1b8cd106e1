"""Sensors against geometry that is known in closed form."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from mm_nav.errors import ConfigError
from mm_nav.geometry import Pose2D
from mm_nav.sim import sensors
from mm_nav.sim.scene import Scene
from mm_nav.sim.sensors import CameraConfig, CloudConfig, LidarConfig
from mm_nav.sim.simulator import SimConfig, Simulator
from mm_nav.sim.world import parse_world

GROUND = "<include><uri>model://ground_plane</uri></include>"


def shape(geometry: str, pose: str, colour: str = "1 0 0 1", name: str = "m") -> str:
    material = f"<material><diffuse>{colour}</diffuse></material>"
    return (
        f"<model name='{name}'><static>1</static><pose>{pose}</pose><link name='l'><visual name='v'>"
        f"<geometry>{geometry}</geometry>"
        f"{material}</visual><collision name='c'><geometry>{geometry}</geometry></collision></link></model>"
    )


def simulator(body: str, start: Pose2D | None = None, **config: object) -> Simulator:
    world = parse_world(f"<sdf version='1.8'><world name='w'>{body}</world></sdf>")
    return Simulator(world, SimConfig(**config), start=start)


QUIET = LidarConfig(noise_std=0.0, range_min=0.0, range_max=50.0)


def ray_box(origin: np.ndarray, direction: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (low - origin) / direction, (high - origin) / direction
    near, far = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
    return np.where((near <= far) & (far > 0), near, np.inf)


def test_scan_range_to_a_box_is_exact() -> None:
    sim = simulator(shape("<box><size>1 2 1</size></box>", "3 0.5 0.5 0 0 0"), Pose2D(0.2, -0.1, 0.4), lidar=QUIET)
    scan = sim.scan()
    angles = scan.angles() + 0.4
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    expected = ray_box(np.array([0.2, -0.1]), directions, np.array([2.5, -0.5]), np.array([3.5, 1.5]))
    hit = np.isfinite(expected)
    assert hit.sum() > 20
    assert np.array_equal(hit, np.isfinite(scan.ranges))
    assert np.abs(scan.ranges[hit] - expected[hit]).max() < 1e-4


@pytest.mark.parametrize(
    "geometry",
    [
        "<cylinder><radius>0.5</radius><length>2</length></cylinder>",
        "<sphere><radius>0.5</radius></sphere>",
        "<capsule><radius>0.5</radius><length>1</length></capsule>",
        "<ellipsoid><radii>0.5 0.5 0.9</radii></ellipsoid>",
    ],
)
def test_scan_range_to_round_shapes_is_within_a_millimetre(geometry: str) -> None:
    lidar = LidarConfig(beams=2000, noise_std=0.0, range_min=0.0, range_max=50.0)
    scan = simulator(shape(geometry, "2 0.3 0.2 0 0 0"), lidar=lidar).scan()  # the beams pass at the shape's middle
    angles = scan.angles()
    along = 2 * np.cos(angles) + 0.3 * np.sin(angles)
    square = along**2 - (2**2 + 0.3**2 - 0.5**2)
    inside = (square > 1e-3) & (along > 0)
    expected = along[inside] - np.sqrt(square[inside])
    # At a glancing beam a surface error of d becomes a range error of d / cos(incidence).
    incidence = np.sqrt(square[inside]) / 0.5
    assert inside.sum() > 100
    assert np.abs((scan.ranges[inside] - expected) * incidence).max() < 3e-4
    assert np.abs(scan.ranges[inside] - expected)[incidence > 0.3].max() < 1e-3


def test_scan_of_a_rolled_plane_and_of_nothing() -> None:
    wall = "<plane><normal>-1 0 0</normal><size>8 8</size></plane>"
    scan = simulator(shape(wall, "4 0 0 0 0 0"), lidar=QUIET).scan()
    assert abs(scan.ranges[180] - 4.0) < 1e-5  # beam 180 of 360 looks straight ahead
    assert np.isinf(scan.ranges[0])
    empty = simulator("", lidar=QUIET).scan()
    assert np.all(np.isinf(empty.ranges)) and not empty.valid().any()


def test_ranges_outside_the_limits_are_inf_and_nan() -> None:
    lidar = LidarConfig(beams=4, noise_std=0.0, range_min=0.5, range_max=3.0)
    body = shape("<box><size>0.2 0.2 1</size></box>", "0.4 0 0 0 0 0") + shape(
        "<box><size>0.2 9 1</size></box>", "-5 0 0 0 0 0", name="far"
    )
    ranges = simulator(body, lidar=lidar).scan().ranges  # back, right, ahead, left
    assert np.isinf(ranges[0]) and np.isnan(ranges[2])


def test_beams_of_a_full_circle_are_not_doubled() -> None:
    angles = simulator("", lidar=LidarConfig(beams=360)).scan().angles()
    assert angles[0] == -math.pi and angles[-1] == pytest.approx(math.pi - 2 * math.pi / 360)


def test_scan_noise_has_the_configured_spread() -> None:
    lidar = LidarConfig(beams=3600, noise_std=0.05, range_min=0.0, range_max=50.0)
    scan = simulator(
        shape("<cylinder><radius>5</radius><length>1</length></cylinder>", "0 0 0 0 0 0"), lidar=lidar
    ).scan()
    assert np.std(scan.ranges) == pytest.approx(0.05, rel=0.1)
    assert np.mean(scan.ranges) == pytest.approx(5.0, abs=0.01)


def test_cloud_lies_on_the_walls_in_base_link() -> None:
    cloud = CloudConfig(noise_std=0.0)
    body = GROUND + shape("<box><size>1 20 4</size></box>", "5.5 0 2 0 0 0")
    points = simulator(body, Pose2D(1.0, 0.0, 0.0), cloud=cloud).cloud().points
    ahead = points[(points[:, 0] > 1) & (np.abs(points[:, 1]) < 3) & (points[:, 2] > 0.05)]
    floor = points[points[:, 0] < -1]
    assert len(ahead) > 100 and len(floor) > 100
    assert np.abs(ahead[:, 0] - 4.0).max() < 1e-3
    assert np.abs(floor[:, 2]).max() < 1e-3


# Camera


@pytest.mark.parametrize("pitch", [0.0, 0.3])
def test_camera_projects_like_opencv(pitch: float) -> None:
    camera = CameraConfig(640, 480, position=(0.1, 0.05, 0.4), pitch=pitch)
    robot = Pose2D(0.3, -0.2, 0.5)
    intrinsics = camera.intrinsics()
    for target in ((2.0, 0.4, 0.1), (3.0, 2.0, 0.8), (2.5, 2.2, 0.3)):
        body = shape("<sphere><radius>0.06</radius></sphere>", f"{target[0]} {target[1]} {target[2]} 0 0 0")
        seen = simulator(body, robot, camera=camera).render()
        rows, columns = np.nonzero(seen.model_index == 0)
        assert len(rows) > 30
        base = np.array(
            [
                [math.cos(0.5), -math.sin(0.5), 0, 0.3],
                [math.sin(0.5), math.cos(0.5), 0, -0.2],
                [0, 0, 1, 0],
                [0, 0, 0, 1],
            ]
        )
        camera_T_world = np.linalg.inv(base @ camera.base_T_camera())
        rotation, _ = cv2.Rodrigues(camera_T_world[:3, :3])
        expected, _ = cv2.projectPoints(np.array([target]), rotation, camera_T_world[:3, 3], intrinsics, None)
        # A sphere's outline is an ellipse whose middle lies up to 0.3 px outside the centre's projection.
        assert np.abs(np.array([columns.mean(), rows.mean()]) - expected.ravel()).max() < 0.5
        depth = (camera_T_world @ [*target, 1.0])[2]
        assert seen.depth[rows, columns].min() == pytest.approx(depth - 0.06, abs=3e-3)


def test_edges_of_a_wall_fall_between_the_right_pixels() -> None:
    camera = CameraConfig(320, 240, position=(0.0, 0.0, 0.5))
    body = shape("<box><size>0.2 1 1</size></box>", "2.1 0 0.5 0 0 0")
    seen = simulator(body, camera=camera).render()
    focal = camera.intrinsics()[0, 0]
    columns = np.flatnonzero(seen.model_index[120] == 0)
    rows = np.flatnonzero(seen.model_index[:, 160] == 0)
    for found, middle in ((columns, 159.5), (rows, 119.5)):
        half = focal * 0.5 / 2.0
        assert abs(found[0] - 0.5 - (middle - half)) <= 0.5 and abs(found[-1] + 0.5 - (middle + half)) <= 0.5
    assert np.allclose(seen.depth[120, columns], 2.0, atol=1e-5)


def test_floor_sky_and_model_labels() -> None:
    seen = simulator(GROUND + shape("<box><size>1 1 1</size></box>", "3 0 0.5 0 0 0", "0 0 1 1", "blue")).render()
    assert np.all(seen.model_index[0] == -1) and np.all(np.isinf(seen.depth[0]))
    assert np.all(seen.model_index[-1] == -1) and np.all(np.isfinite(seen.depth[-1]))
    middle = seen.rgb[120, 160]
    assert seen.model_index[120, 160] == 1
    assert middle[2] > 60 and middle[0] == 0 and middle[1] == 0
    assert np.ptp(seen.rgb[-40:].reshape(-1, 3), axis=0).max() > 5  # the floor has a pattern


def test_surfaces_facing_the_light_are_brighter() -> None:
    sun = "<light name='s' type='directional'><direction>1 0 0</direction><diffuse>1 1 1 1</diffuse></light>"
    body = sun + shape("<box><size>1 1 1</size></box>", "3 0 0.5 0 0 0", "0.5 0.5 0.5 1")
    towards = simulator(body).render().rgb[120, 160, 0]
    away = simulator(body.replace("<direction>1", "<direction>-1")).render().rgb[120, 160, 0]
    assert int(towards) > int(away) + 40


def test_glaring_ambient_light_does_not_wash_the_floor_out() -> None:
    rgb = simulator("<scene><ambient>1 1 1 1</ambient></scene>" + GROUND).render().rgb[-60:]
    assert np.mean(rgb == 255) < 0.05 and np.ptp(rgb) > 15


def test_shadows_only_when_asked() -> None:
    sun = "<light name='s' type='directional'><cast_shadows>1</cast_shadows><direction>0 0 -1</direction></light>"
    roof = shape("<box><size>1 1 0.1</size></box>", "2 0 2 0 0 0")
    camera = CameraConfig(160, 120)
    dark = CameraConfig(160, 120, shadows=True)
    body = sun + GROUND + roof
    bright, shaded = (simulator(body, camera=config).render().rgb.astype(int) for config in (camera, dark))
    change = (bright - shaded).max(axis=2)
    assert change[-1].max() == 0  # the floor before the robot is not under the roof
    assert change.max() > 60 and 0.005 < np.mean(change > 30) < 0.2


def test_point_light_fades_with_distance() -> None:
    fade = "<attenuation><range>20</range><quadratic>1</quadratic></attenuation>"
    lamp = f"<light name='p' type='point'><pose>2 0 1 0 0 0</pose>{fade}</light>"
    rgb = simulator(lamp + GROUND, camera=CameraConfig(160, 120)).render().rgb.astype(int)
    assert rgb[75, 80].sum() > rgb[61, 80].sum() + 60
    short = simulator(lamp.replace(">20<", ">0.9<") + GROUND, camera=CameraConfig(160, 120)).render().rgb.astype(int)
    assert short[75, 80].sum() < rgb[75, 80].sum() - 60  # the lamp hangs 1 m high and does not reach the floor


def textured_world(pixels: np.ndarray, folder: object) -> Simulator:
    cv2.imwrite(str(folder) + "/t.png", pixels[..., ::-1])
    box = shape("<box><size>0.2 2 2</size></box>", "2.1 0 1 0 0 0")
    material = "<material><diffuse>1 1 1 1</diffuse><pbr><metal><albedo_map>t.png</albedo_map></metal></pbr></material>"
    start = box.index("<material>")
    text = box[:start] + material + box[box.index("</material>") + len("</material>") :]
    sun = "<light name='s' type='directional'><direction>1 0 0</direction></light>"
    world = parse_world(f"<sdf version='1.8'><world name='w'>{sun}{text}</world></sdf>", base_dir=folder)
    return Simulator(world, SimConfig(camera=CameraConfig(321, 241, position=(0.0, 0.0, 1.0))))


def test_texture_is_upright_and_unmirrored(tmp_path: object) -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0], pixels[0, 1], pixels[1, 0], pixels[1, 1] = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
    rgb = textured_world(pixels, tmp_path).render().rgb
    corners = [rgb[60, 110], rgb[60, 210], rgb[180, 110], rgb[180, 210]]
    brightest = [set(np.flatnonzero(corner > 100).tolist()) for corner in corners]
    # Seen from outside, the box's -x side shows u from -y to +y, which is right to left for this camera.
    assert brightest == [{1}, {0}, {0, 1, 2}, {2}]


def test_far_textures_are_averaged_not_sampled(tmp_path: object) -> None:
    pixels = np.zeros((256, 256, 3), np.uint8)
    pixels[::2] = 255
    simulator_ = textured_world(pixels, tmp_path)
    near = simulator_.render(pose=Pose2D(1.9, 0.0, 0.0)).rgb[100:140, 140:180]
    far = simulator_.render(pose=Pose2D(-9.0, 0.0, 0.0)).rgb
    wall = far[np.isfinite(simulator_.render(pose=Pose2D(-9.0, 0.0, 0.0)).depth)]
    assert np.std(near.astype(float)) > 3 * np.std(wall.astype(float))


def test_supersampling_smooths_edges_only() -> None:
    body = shape("<box><size>0.2 1 1</size></box>", "2.1 0.013 0.5 0 0 0.1")
    plain, fine = (simulator(body, camera=CameraConfig(96, 72, supersample=n)).render() for n in (1, 3))
    assert plain.rgb.shape == fine.rgb.shape == (72, 96, 3)
    different = np.any(np.abs(plain.rgb.astype(int) - fine.rgb) > 8, axis=2)
    assert 0 < different.mean() < 0.06
    assert np.array_equal(plain.model_index, fine.model_index)


def test_image_message_carries_its_geometry_and_noise() -> None:
    sim = simulator(GROUND, camera=CameraConfig(64, 48, noise_std=5.0), lidar=None)
    image, other = sim.image(), sim.image()
    assert image.rgb.shape == (48, 64, 3) and image.intrinsics[0, 2] == 31.5
    assert np.allclose(image.base_T_camera[:3, 3], (0.12, 0.0, 0.32))
    assert np.allclose(image.base_T_camera[:3, :3] @ [0, 0, 1], [1, 0, 0])
    assert 3.0 < np.std(image.rgb.astype(float) - other.rgb) / math.sqrt(2) < 6.0


def test_an_empty_world_and_a_world_without_visuals_render() -> None:
    assert simulator("").render(32, 24).rgb.shape == (24, 32, 3)
    hidden = "<model name='m'><link name='l'><collision name='c'><geometry><box/></geometry></collision></link></model>"
    assert np.all(simulator(hidden).render(32, 24).model_index == -1)
    assert np.all(np.isinf(simulator(hidden, lidar=QUIET).scan().ranges))


@pytest.mark.parametrize(
    "make",
    [
        lambda: CameraConfig(width=0),
        lambda: CameraConfig(horizontal_fov=4.0),
        lambda: CameraConfig(supersample=9),
        lambda: CameraConfig(noise_std=-1.0),
        lambda: LidarConfig(beams=0),
        lambda: LidarConfig(angle_min=0.0, angle_max=7.0),
        lambda: LidarConfig(range_min=3.0, range_max=2.0),
        lambda: CloudConfig(rings=0),
        lambda: CloudConfig(range_max=0.0),
    ],
)
def test_impossible_sensors_are_refused(make: object) -> None:
    with pytest.raises(ConfigError):
        make()  # type: ignore[operator]


def test_lidar_sees_visuals_and_contacts_see_collisions() -> None:
    ghost = shape("<box><size>1 1 1</size></box>", "2 0 0.5 0 0 0").replace("collision", "ignored")
    wall = shape("<box><size>1 1 1</size></box>", "-2 0 0.5 0 0 0", name="w").replace("visual", "ignored")
    scene = Scene(parse_world(f"<sdf version='1.8'><world name='w'>{ghost}{wall}</world></sdf>"))
    ahead = np.array([[1, 0, 0], [-1, 0, 0]], np.float32)
    mount = np.eye(4)
    mount[2, 3] = 0.3
    assert np.allclose(sensors.cast(scene, ahead, mount), [1.5, np.inf])
    origins = np.array([[0, 0, 0.3]] * 2, np.float32)
    assert np.allclose(scene.distances(origins, ahead, collision=True), [np.inf, 1.5])
