"""Which transports Fast DDS uses in a process; other middlewares take no notice."""

from __future__ import annotations

import os

from mm_nav.resources import resource_path

VARIABLE = "FASTDDS_DEFAULT_PROFILES_FILE"
# Whoever sets one of these knows what they want.
_OTHERS = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_BUILTIN_TRANSPORTS")


def transport_profile() -> str:
    """Return the path of the settings that come with mm_nav: room for pictures in shared memory."""
    return str(resource_path("config/fastdds.xml"))


def transport_defaults() -> dict[str, str]:
    """Return what to add to this process's environment for them; {} where it says otherwise."""
    return {} if any(name in os.environ for name in _OTHERS) else {VARIABLE: transport_profile()}


def set_transports() -> None:
    """Use them in this process, unless its environment says otherwise; call before rclpy is initialised."""
    for name, value in transport_defaults().items():
        os.environ.setdefault(name, value)
