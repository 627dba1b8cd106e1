"""A world of primitive shapes as a MuJoCo model, so that its renderer can be compared with ours on the same scene."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

import numpy as np
import numpy.typing as npt

from mm_nav.errors import WorldError
from mm_nav.sim.sdf_geometry import Box, Capsule, Cylinder, Ellipsoid, Geometry, Plane, Sphere
from mm_nav.sim.world import Light, World

Matrix = npt.NDArray[np.float64]

# MuJoCo's own default of 4096 makes its shadows four times slower, and pictures of a robot's size look the same.
SHADOW_MAP = 1024


def world_to_mjcf(world: World, largest: tuple[int, int] = (640, 480)) -> str:
    """Return MJCF text with the visuals and lights of a world, and a camera "camera" that mocap moves.

    The camera is the body "eye" (mocap); its frame is MuJoCo's: x right, y up, looking along -z. largest: pixels of the
    largest picture. Pixels get one sample each, as in the embedded simulator (MuJoCo takes four by default). Raises
    WorldError for shapes that MJCF has no primitive for.
    """
    geoms = [
        f"    <geom name={quoteattr(f'{index}:{number}')} {_shape(shape.geometry)} {_pose(shape.pose)} "
        f'rgba="{_numbers(shape.material.diffuse)} 1"/>'
        for index, model in enumerate(world.models)
        for number, shape in enumerate(model.visuals)
    ]
    return f"""<mujoco>
  <visual>
    <global offwidth="{largest[0]}" offheight="{largest[1]}"/>
    <headlight ambient="{_numbers(world.ambient)}" diffuse="0 0 0" specular="0 0 0"/>
    <map znear="0.001" zfar="10"/>
    <quality offsamples="0" shadowsize="{SHADOW_MAP}"/>
  </visual>
  <statistic extent="10"/>
  <worldbody>
{chr(10).join(_light(light) for light in world.lights if light.kind == "directional")}
    <body name="eye" mocap="true"><camera name="camera" fovy="60"/></body>
{chr(10).join(geoms)}
  </worldbody>
</mujoco>
"""


def _shape(geometry: Geometry) -> str:
    if isinstance(geometry, Box):
        return f'type="box" size="{_numbers(np.array(geometry.size) / 2)}"'
    if isinstance(geometry, Cylinder):
        return f'type="cylinder" size="{_numbers((geometry.radius, geometry.length / 2))}"'
    if isinstance(geometry, Capsule):
        return f'type="capsule" size="{_numbers((geometry.radius, geometry.length / 2))}"'
    if isinstance(geometry, Sphere):
        return f'type="sphere" size="{_numbers((geometry.radius,))}"'
    if isinstance(geometry, Ellipsoid):
        return f'type="ellipsoid" size="{_numbers(geometry.radii)}"'
    if isinstance(geometry, Plane) and np.allclose(geometry.normal, (0, 0, 1)):
        return f'type="plane" size="{_numbers((geometry.size[0] / 2, geometry.size[1] / 2, 1.0))}"'
    raise WorldError(f"a {type(geometry).__name__.lower()} has no MuJoCo primitive: compare on a world without one")


def _pose(pose: Matrix) -> str:
    axes = np.concatenate([pose[:3, 0], pose[:3, 1]])
    return f'pos="{_numbers(pose[:3, 3])}" xyaxes="{_numbers(axes)}"'


def _light(light: Light) -> str:
    position = -10.0 * np.array(light.direction)
    return (
        f'    <light type="directional" pos="{_numbers(position)}" dir="{_numbers(light.direction)}" castshadow="true" '
        f'diffuse="{_numbers(np.array(light.diffuse) * light.intensity)}" specular="0 0 0"/>'
    )


def _numbers(values: npt.ArrayLike) -> str:
    return " ".join(f"{value:.6g}" for value in np.asarray(values, np.float64).ravel())
