"""All simulated sensors in one import."""

from mm_nav.sim.camera import BODY_R_OPTICAL, CameraConfig, RenderResult, camera_rays, render
from mm_nav.sim.imu import ImuConfig
from mm_nav.sim.lidar import CloudConfig, LidarConfig, cast, cloud_directions, lidar_directions, limit_ranges
from mm_nav.sim.shading import shade

__all__ = [
    "BODY_R_OPTICAL",
    "CameraConfig",
    "CloudConfig",
    "ImuConfig",
    "LidarConfig",
    "RenderResult",
    "camera_rays",
    "cast",
    "cloud_directions",
    "lidar_directions",
    "limit_ranges",
    "render",
    "shade",
]
