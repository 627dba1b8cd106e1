"""Which transports Fast DDS uses in a process; other middlewares take no notice."""

from __future__ import annotations

import os

from mm_nav.resources import resource_path

# Fast DDS 3 (since ROS 2 Kilted) reads the first, and warns of the second, which is all that Fast DDS 2 reads.
VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
_FAST_DDS_2 = ("humble", "iron", "jazzy")
# Whoever sets one of these knows what they want.
_SAYING = (*VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")


def transport_profile() -> str:
    """Return the path of the settings that come with mm_nav: room for pictures in shared memory."""
    return str(resource_path("config/fastdds.xml"))


def profile_variable() -> str:
    """Return the one that counts here."""
    return VARIABLES[os.environ.get("ROS_DISTRO") in _FAST_DDS_2]


def transport_defaults() -> dict[str, str]:
    """Return what to add to this process's environment for them; {} where it says otherwise."""
    return {} if any(name in os.environ for name in _SAYING) else {profile_variable(): transport_profile()}


def set_transports() -> None:
    """Use them in this process, unless its environment says otherwise; call before rclpy is initialised."""
    os.environ.update(transport_defaults())
