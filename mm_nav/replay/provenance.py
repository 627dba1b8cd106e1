"""What a replay was made with, for its report and its JSON: enough to make it again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

from mm_nav import __version__
from mm_nav.replay.run import ReplayConfig
from mm_nav.runtime.policy import OnnxPolicy

_PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "rosbags")


def provenance(policy: OnnxPolicy | None, config: ReplayConfig) -> dict[str, str]:
    """Return what made the replay, by name. config: hashed as a whole, so that two runs of other settings can be told apart."""
    settings = json.dumps(dataclasses.asdict(config), sort_keys=True, default=str)
    found = {
        "mm_nav": __version__,
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "model": "none" if policy is None else policy.path.name,
        "model sha256": "" if policy is None else policy.manifest.model_sha256,
        "robot": config.robot.name,
        "settings sha256": hashlib.sha256(settings.encode()).hexdigest()[:16],
        "command": " ".join(["mm-nav", *sys.argv[1:]]),
        "Python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
