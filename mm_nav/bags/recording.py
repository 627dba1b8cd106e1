"""What every container gives: channels, raw messages, and what was damaged. No container's format is known here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.msg import normalize_msgtype

from mm_nav.errors import BagError

Encoding = Literal["cdr", "ros1"]
Raw = bytes | memoryview

# Nobody's message has more elements; a damaged length would have them made one by one.
_MAX_ELEMENTS = 2**26
# Parsing a definition is slow; the largest real ones have some 30 kB.
_MAX_DEFINITION = 2**20
_TF2 = ("tf2_msgs/msg/TFMessage", "geometry_msgs/TransformStamped[] transforms\n")
_IDL_SEPARATOR = "=" * 80 + "\n"


@dataclass(frozen=True)
class Channel:
    """One topic of one recording.

    msgtype: ROS 2 style, such as "sensor_msgs/msg/LaserScan". encoding: how its messages are serialised. count: messages,
    -1 = not known before they are read. handle: the reader's own record of it, if any.
    """

    id: int
    topic: str
    msgtype: str
    encoding: Encoding
    count: int
    handle: Any = None


class Recording(Protocol):
    """A recording, open for reading.

    start_ns, end_ns: receive times of the first message and of the last, ns (0, 0 while not known). message_count: -1 =
    not known before they are read. damage: warnings found so far, each names the file and the byte offset (or row);
    grows while messages are read.
    """

    path: Path
    channels: tuple[Channel, ...]
    start_ns: int
    end_ns: int
    message_count: int
    damage: list[str]

    def messages(
        self, channels: Sequence[Channel] | None = None, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Channel, int, Raw]]:
        """Yield (channel, receive time in ns, serialised message) in order of receive time where the container is sound.

        channels: only these; None = all. start_ns <= receive time < stop_ns. A raw message may be a view of a larger
        buffer: copy what is kept for long.
        """
        ...

    def deserialize(self, raw: Raw, msgtype: str, encoding: str) -> Any:
        """Return the message as an object of the `rosbags` library. Raises BagError when it cannot be decoded."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


@dataclass
class MessageTypes:
    """Message definitions of a recording, by type; the standard ROS types where it brings none.

    A definition is parsed when its type is first needed, and apart from the others, so that a broken one harms nobody.
    """

    definitions: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    _stores: dict[tuple[str, str], Any] = field(default_factory=dict)

    def define(self, msgtype: str, encoding: str, form: str, text: str) -> None:
        """Note a definition. form: "ros2msg", "ros1msg" or "ros2idl". The first one of a type stays."""
        if text.strip() and form in ("ros2msg", "ros1msg", "ros2idl", "omgidl") and len(text) <= _MAX_DEFINITION:
            self.definitions.setdefault((msgtype, encoding), (form, text))

    def known(self, msgtype: str, encoding: str) -> bool:
        """Return whether messages of this type can be decoded, as far as can be told without parsing."""
        return (msgtype, encoding) in self.definitions or msgtype in _standard(encoding).fielddefs

    def deserialize(self, raw: Raw, msgtype: str, encoding: str) -> Any:
        """Return the message as an object. Raises BagError when type or bytes do not allow it."""
        store = self._stores.get((msgtype, encoding))
        if store is None:
            store = self._stores[msgtype, encoding] = self._store(msgtype, encoding)
        try:
            return store.deserialize_ros1(raw, msgtype) if encoding == "ros1" else store.deserialize_cdr(raw, msgtype)
        except Exception as error:
            # Whatever damaged bytes do to the generated decoder.
            raise BagError(f"a message of type {msgtype} cannot be decoded ({reason(error)})") from error

    def _store(self, msgtype: str, encoding: str) -> Any:
        standard = _standard(encoding)
        form, text = self.definitions.get((msgtype, encoding), ("", ""))
        if not text:
            return standard
        store = get_typestore(Stores.EMPTY)
        store.max_sequence_length = _MAX_ELEMENTS
        try:
            store.register(_parsed(msgtype, form, text))
            store.get_msgdef(msgtype)
        except Exception as error:
            if msgtype in standard.fielddefs:
                return standard
            raise BagError(f"the definition of message type {msgtype} is damaged ({reason(error)})") from error
        return store


_STANDARD: dict[str, Any] = {}


def _standard(encoding: str) -> Any:
    if encoding not in _STANDARD:
        store = get_typestore(Stores.ROS1_NOETIC if encoding == "ros1" else Stores.ROS2_HUMBLE)
        store.max_sequence_length = _MAX_ELEMENTS
        if encoding == "ros1":  # the library's Noetic types lack tf2
            store.register(get_types_from_msg(_TF2[1], _TF2[0]))
        _STANDARD[encoding] = store
    return _STANDARD[encoding]


def _parsed(msgtype: str, form: str, text: str) -> dict[str, Any]:
    if form in ("ros1msg", "ros2msg"):
        return dict(get_types_from_msg(text, msgtype))
    types: dict[str, Any] = {}
    for part in text.split(_IDL_SEPARATOR):
        body = part.split("\n", 1)[1] if part.startswith("IDL: ") else part
        if body.strip():
            types.update(get_types_from_idl(body))
    return types


def ros2_name(msgtype: str) -> str:
    """Return "sensor_msgs/msg/Image" of "sensor_msgs/Image"; what is no type's name is returned as it is."""
    if re.fullmatch(r"\w+(/msg)?/\w+", msgtype):
        return str(normalize_msgtype(msgtype))
    return msgtype


def select(channels: Iterable[Channel] | None) -> set[tuple[str, str, str]] | None:
    """Return the identities (topic, type, encoding) of channels; None = all."""
    return None if channels is None else {(c.topic, c.msgtype, c.encoding) for c in channels}


def reason(error: BaseException) -> str:
    """Return one line that says what an exception says."""
    text = " ".join(str(error).split())
    return text[:200] if text else type(error).__name__
