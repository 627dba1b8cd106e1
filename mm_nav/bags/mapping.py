"""Which topic of a recording is what: by type, by name, or as a file says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from mm_nav.bags.recording import Channel
from mm_nav.config_file import read_yaml
from mm_nav.errors import BagError, ConfigError

POSE = "geometry_msgs/msg/PoseStamped"
POSE_COVARIANCE = "geometry_msgs/msg/PoseWithCovarianceStamped"
TRANSFORM = "geometry_msgs/msg/TransformStamped"
TWIST_STAMPED = "geometry_msgs/msg/TwistStamped"
INFO = "sensor_msgs/msg/CameraInfo"
# The second is how ROS 1 called it until 2013.
TF = ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage")

TYPES = {
    "odometry": ("nav_msgs/msg/Odometry", POSE, TRANSFORM, POSE_COVARIANCE),
    "scan": ("sensor_msgs/msg/LaserScan",),
    "image": ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"),
    "cloud": ("sensor_msgs/msg/PointCloud2",),
    "command": ("geometry_msgs/msg/Twist", TWIST_STAMPED),
}
SENSORS = ("scan", "image", "cloud")
# What else a mapping may say.
FRAMES = ("base_frame", "odom_frame")
KEYS = ("odometry", "scan", "image", "camera_info", "cloud", "command", *FRAMES)

# What a topic's name says about its use; the first match wins, then the side, then the topic with most messages.
_PREFERRED = {
    "odometry": ("odom", "filtered"),
    "scan": ("scan",),
    "image": ("color", "rgb", "image_raw", "image"),
    "cloud": ("points", "cloud"),
    "command": ("cmd_vel",),
}
_UNWANTED = ("depth", "mask", "infra", "debug", "costmap", "map")
_SIDES = {"front": 1, "right": -1, "rear": -2, "back": -2}
# Fewer poses than this are goals that somebody clicked, not a robot that moves.
_MIN_POSES = 20


def load_mapping(path: Path) -> dict[str, str]:
    """Return what a YAML file says about a recording's topics and frames: KEYS -> name, to be given as `topics` to BagReader.

    Raises ConfigError for a file that cannot be read, a key that is not one of KEYS, and a value that is no name.
    """
    found: dict[str, str] = {}
    for key, value in read_yaml(path, "lines such as 'scan: /front/scan'").items():
        if key not in KEYS:
            raise ConfigError(f"{path}: '{key}' is not known: give some of {', '.join(KEYS)}")
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f"{path}: {key} is {value!r}: give the name of a {'frame' if key in FRAMES else 'topic'}")
        found[key] = value.strip()
    return found


def check_keys(wanted: Mapping[str, str]) -> None:
    """Raise BagError for a key that is not one of KEYS."""
    if unknown := sorted(set(wanted) - set(KEYS)):
        raise BagError(f"topics of kind {', '.join(unknown)} are not known: give {', '.join(KEYS)}")


def choose(
    channels: Sequence[Channel],
    wanted: Mapping[str, str],
    path: Path,
    warn: Callable[[str], None],
    usable: Callable[[Channel], bool] = lambda channel: True,
    odom_transforms: bool = False,
) -> dict[str, Channel]:
    """Return the topic of each kind that the recording has; no "odometry" where the pose is to come from transforms.

    wanted: kind -> topic, where somebody said so. usable: asked about pictures, before one is chosen. odom_transforms: whether
    transforms tell where the base is in the odom frame. Raises BagError when a wanted topic is not there, or when the recording
    has no pose, or neither LiDAR nor camera.
    """
    chosen: dict[str, Channel] = {}
    for kind, types in TYPES.items():
        candidates = [c for c in channels if c.msgtype in types and c.count != 0]
        if kind == "odometry" and any(
            c.msgtype in TF and c.topic == "/" + wanted.get(kind, "").strip("/") for c in channels
        ):
            continue
        if kind in wanted:
            chosen[kind] = _named(candidates, wanted[kind], kind, path)
            continue
        if kind == "odometry":
            candidates = _pose_sources(candidates, odom_transforms)
        elif kind == "image":
            candidates = [c for c in candidates if preference(kind, c.topic)[0] >= 0]
        elif kind == "command":
            candidates = [c for c in candidates if "cmd_vel" in c.topic]
        best = sorted(candidates, key=lambda c: (preference(kind, c.topic), c.count, c.topic), reverse=True)
        found = next((c for c in best if kind != "image" or usable(c)), None)
        if found is not None:
            chosen[kind] = found
            others = sorted({c.topic for c in candidates} - {found.topic})
            if others and kind != "command":
                warn(f"{kind} is read from {found.topic}; not used: {', '.join(others)}")
    transforms = any(c.msgtype in TF and c.count != 0 for c in channels)
    if ("odometry" not in chosen and not transforms) or not set(chosen) & set(SENSORS):
        have = ", ".join(sorted({f"{c.topic} ({c.msgtype})" for c in channels})) or "no topics"
        raise BagError(
            f"{path} cannot be replayed: it needs Odometry, PoseStamped or transforms, and a LaserScan, "
            f"PointCloud2 or Image topic with messages, and has {have}"
        )
    return chosen


def camera_info(channels: Iterable[Channel], image: str, wanted: str | None, path: Path) -> Channel | None:
    """Return the CameraInfo topic that describes an image topic: that of its namespace, or of the recording's only camera."""
    infos = [c for c in channels if c.msgtype == INFO and c.count != 0]
    if wanted is not None:
        return _named(infos, wanted, "camera_info", path)
    space = image.removesuffix("/compressed").rsplit("/", 1)[0]
    beside = [c for c in infos if c.topic.rsplit("/", 1)[0] == space]
    return beside[0] if beside else infos[0] if len(infos) == 1 else None


def preference(kind: str, topic: str) -> tuple[int, int]:
    """Return how much a topic's name says that it is what is looked for, below 0 = it is not, and how good it is of its kind."""
    name = topic.lower()
    words = _PREFERRED[kind]
    score = next((len(words) - i for i, word in enumerate(words) if word in name), 0)
    if kind == "command":  # of several the one at the wheels, which has no qualifying name
        return score, 100 * name.endswith("/cmd_vel") - name.count("/")
    side = sum(value for word, value in _SIDES.items() if word in name)
    return score - 10 * any(word in name for word in _UNWANTED), 2 * side - name.endswith("/compressed")


def _pose_sources(candidates: list[Channel], odom_transforms: bool) -> list[Channel]:
    """Return the best kind of topics that tell the pose; none where transforms tell it better."""
    for msgtype in TYPES["odometry"]:
        found = [c for c in candidates if c.msgtype == msgtype]
        if msgtype in (POSE, TRANSFORM, POSE_COVARIANCE):
            found = [] if odom_transforms else [c for c in found if c.count < 0 or c.count >= _MIN_POSES]
        if found:
            return found
    return []


def _named(candidates: Sequence[Channel], topic: str, kind: str, path: Path) -> Channel:
    named = [c for c in candidates if c.topic.strip("/") == topic.strip("/")]
    if not named:
        have = ", ".join(sorted({c.topic for c in candidates})) or "none"
        raise BagError(f"{path} has no {kind} messages on '{topic}': topics of that type are {have}")
    return named[0]
