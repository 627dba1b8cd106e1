"""MuJoCo's renderer on software GL, set up to take the same pictures as ours."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mm_nav.errors import MmNavError
from mm_nav.evaluation.mjcf import world_to_mjcf
from mm_nav.sim.camera import CameraConfig
from mm_nav.sim.world import World

Matrix = npt.NDArray[np.float64]

NEEDS = "MuJoCo cannot render here: pip install 'mm_nav[bench]' and, as root, apt install libegl1 libgl1-mesa-dri libosmesa6"

_PROBE = "import mujoco; mujoco.Renderer(mujoco.MjModel.from_xml_string('<mujoco/>'), 8, 8).render()"


class MujocoCamera:
    """Takes RGB and depth of a world from given poses, on EGL or, where that fails, OSMesa."""

    def __init__(self, world: World, camera: CameraConfig) -> None:
        """Raises MmNavError, with what to install, when MuJoCo or software GL is not here."""
        self._mujoco, self._camera = import_mujoco(), camera
        mujoco = self._mujoco
        self._model = mujoco.MjModel.from_xml_string(world_to_mjcf(world, (camera.width, camera.height)))
        self._model.cam_fovy[0] = math.degrees(2 * math.atan(camera.height / 2 / camera.intrinsics()[1, 1]))
        self._data = mujoco.MjData(self._model)
        self._renderer = mujoco.Renderer(self._model, camera.height, camera.width)
        # RGB and depth of one pass; Renderer.render() would draw the scene twice.
        self._rgb = np.zeros((camera.height, camera.width, 3), np.uint8)
        self._depth = np.zeros((camera.height, camera.width), np.float32)
        self._view = mujoco.MjrRect(0, 0, camera.width, camera.height)

    @property
    def platform(self) -> str:
        """The GL platform and renderer, such as "egl: llvmpipe (LLVM 15.0.6, 256 bits)"."""
        from OpenGL import GL

        name = GL.glGetString(GL.GL_RENDERER)
        return f"{os.environ.get('MUJOCO_GL', '?')}: {name.decode() if name else 'unknown'}"

    def shadows(self, on: bool) -> None:
        """Switch shadows on or off."""
        self._renderer.scene.flags[self._mujoco.mjtRndFlag.mjRND_SHADOW] = on

    def _place(self, world_T_camera: Matrix) -> None:
        mujoco, data = self._mujoco, self._data
        rotation = world_T_camera[:3, :3] @ np.diag([1.0, -1.0, -1.0])  # MuJoCo's cameras look along -z, y up
        quaternion = np.zeros(4)
        mujoco.mju_mat2Quat(quaternion, np.ascontiguousarray(rotation).ravel())
        data.mocap_pos[0], data.mocap_quat[0] = world_T_camera[:3, 3], quaternion
        mujoco.mj_kinematics(self._model, data)
        mujoco.mj_camlight(self._model, data)
        self._renderer.update_scene(data, "camera")

    def one_pass(self, world_T_camera: Matrix) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Return RGB (H, W, 3) and depth (H, W), metres along the axis, drawn once and read back together with MuJoCo's
        low-level calls: its fastest way."""
        mujoco, renderer = self._mujoco, self._renderer
        self._place(world_T_camera)
        context = renderer._mjr_context
        mujoco.mjr_render(self._view, renderer.scene, context)
        mujoco.mjr_readPixels(self._rgb, self._depth, self._view, context)
        extent = self._model.stat.extent
        near, far = self._model.vis.map.znear * extent, self._model.vis.map.zfar * extent
        # MuJoCo's depth buffer runs backwards: 1 at the near plane, 0 at the far one.
        scale, offset = np.float32(far * near / (far - near)), np.float32(near / (far - near))
        return np.ascontiguousarray(self._rgb[::-1]), scale / (self._depth[::-1] + offset)

    def two_passes(self, world_T_camera: Matrix) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """The same with `mujoco.Renderer`, MuJoCo's Python interface for this: it draws once for RGB, once for depth."""
        self._place(world_T_camera)
        rgb = self._renderer.render()
        self._renderer.enable_depth_rendering()
        depth = self._renderer.render()
        self._renderer.disable_depth_rendering()
        return rgb, depth

    def close(self) -> None:
        """Free the GL context."""
        self._renderer.close()


@lru_cache(maxsize=1)
def import_mujoco() -> Any:
    """Return the module `mujoco`, set to a software GL that works here. Raises MmNavError, with what to install.

    MuJoCo chooses its GL when it is first imported, and a GL that is missing may end the process: so each is tried in a
    process of its own first.
    """
    chosen = os.environ.get("MUJOCO_GL")
    for platform in (chosen,) if chosen else ("egl", "osmesa"):
        env = os.environ | {"MUJOCO_GL": platform}
        try:
            tried = subprocess.run([sys.executable, "-c", _PROBE], env=env, capture_output=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if tried.returncode == 0:
            os.environ["MUJOCO_GL"] = platform
            import mujoco

            return mujoco
    raise MmNavError(NEEDS)
