"""What the commands that read recordings share: which topics are what."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mm_nav.errors import ConfigError


def add_topic_options(parser: Any) -> None:
    """Declare --topic and --mapping. parser: a parser or a group of one."""
    parser.add_argument(
        "--topic",
        action="append",
        default=[],
        metavar="KIND=TOPIC",
        help="read odometry, scan, image, cloud or command from this topic; may be repeated",
    )
    parser.add_argument("--mapping", type=Path, metavar="FILE", help="YAML file with such topics, for odd names")


def topics_of(args: argparse.Namespace) -> dict[str, str]:
    """Return kind -> topic of these options; --topic counts more. Raises ConfigError for what cannot be read."""
    from mm_nav.bags.mapping import load_mapping

    topics = {} if args.mapping is None else load_mapping(args.mapping)
    for pair in args.topic:
        kind, separator, topic = pair.partition("=")
        if not separator or not topic:
            raise ConfigError(f"--topic is '{pair}': give KIND=TOPIC, such as scan=/front/scan")
        topics[kind] = topic
    return topics
