"""Topic, action and frame names, from config/topics.yaml."""

from __future__ import annotations

from functools import lru_cache
from types import SimpleNamespace

import yaml

from mm_nav.resources import resource_path


@lru_cache(maxsize=1)
def topics() -> SimpleNamespace:
    """Return all topic and action names as attributes: topics().cmd_vel."""
    groups = yaml.safe_load(resource_path("config/topics.yaml").read_text())
    return SimpleNamespace(
        **{name: value for key, group in groups.items() if key != "frames" for name, value in group.items()}
    )


@lru_cache(maxsize=1)
def frames() -> SimpleNamespace:
    """Return the frame names as attributes: frames().base."""
    return SimpleNamespace(**yaml.safe_load(resource_path("config/topics.yaml").read_text())["frames"])
