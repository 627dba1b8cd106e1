"""Messages that are written once and sent many times: only their stamps change."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from rclpy.publisher import Publisher
from rclpy.serialization import serialize_message


class WrittenMessages:
    """Messages of one sensor. Each begins with a std_msgs/Header."""

    def __init__(self, publisher: Publisher, messages: Sequence[Any]) -> None:
        self._publisher = publisher
        self._written = [bytearray(serialize_message(message)) for message in messages]

    def send(self, index: int, stamp_ns: int) -> None:
        """Publish one of them, the index taken round and round, with a stamp."""
        message = self._written[index % len(self._written)]
        # CDR: four bytes of encapsulation, then the header's stamp.
        struct.pack_into("<iI", message, 4, *divmod(stamp_ns, 1_000_000_000))
        self._publisher.publish(bytes(message))
