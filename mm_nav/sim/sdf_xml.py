"""XML as Gazebo's lenient parser accepts it, without what can harm: entities, external files, endless nesting."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

from mm_nav.errors import WorldError

MAX_XML_BYTES = 256 * 1024 * 1024
MAX_ELEMENTS = 3_000_000  # an element takes about 500 bytes once parsed
MAX_XML_DEPTH = 200

_ATTRIBUTE = r"""([\w.:-]+)\s*=\s*("[^"]*"|'[^']*'|[^\s"'<>/=]+)"""
_TAG = re.compile(rf"<([\w.:-]+)((?:\s+{_ATTRIBUTE})*)\s*(/?)>")
_ENCODING = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""")


def read_xml(path: Path) -> Element:
    """Return the root element of an XML file.

    Raises WorldError when the file cannot be read, is larger than 256 MB, is not XML, or declares entities.
    """
    try:
        if path.stat().st_size > MAX_XML_BYTES:
            raise WorldError(
                f"{path}: {path.stat().st_size} bytes is more than {MAX_XML_BYTES}: split or shrink the file"
            )
        data = path.read_bytes()
    except OSError as error:
        raise WorldError(
            f"{path}: cannot be read ({error.strerror or error}): check the path and its permissions"
        ) from error
    return parse_xml(data, str(path))


def parse_xml(data: bytes | str, source: str) -> Element:
    """Return the root element of XML text; `source` names it in errors. Entities and file references are refused."""
    raw = (data.encode() if isinstance(data, str) else data).lstrip()
    if raw.count(b"<") > 2 * MAX_ELEMENTS:
        raise WorldError(f"{source}: has more than {MAX_ELEMENTS} elements: split or shrink the file")
    try:
        try:
            root = _parse(raw)
        except (ParseError, ValueError, LookupError) as error:
            try:
                root = _parse(_repair(_decode(raw)).encode())
            except (ParseError, ValueError, LookupError):
                raise error from None  # its place is one in the file as it is
    except DefusedXmlException as error:
        raise WorldError(
            f"{source}: declares XML entities or external references, which no world needs "
            f"({type(error).__name__}): remove them"
        ) from error
    except (ParseError, ValueError, LookupError) as error:
        raise WorldError(f"{source}: is not well-formed XML ({error}): repair the file at that place") from error
    _check_depth(root, source)
    return root


def _parse(raw: bytes) -> Element:
    root: Element = fromstring(raw, forbid_dtd=False, forbid_entities=True, forbid_external=True)
    return root


def _check_depth(root: Element, source: str) -> None:
    """Refuse trees that nobody writes by hand and that code walking them could not walk."""
    level, depth = [root], 0
    while level:
        depth += 1
        if depth > MAX_XML_DEPTH:
            raise WorldError(f"{source}: elements are nested deeper than {MAX_XML_DEPTH}: flatten the file")
        level = [child for element in level for child in element]


def _decode(raw: bytes) -> str:
    """Return XML as text: in the encoding it declares, else UTF-8, else Latin-1 (copyright signs in old files)."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    declared = _ENCODING.match(raw)
    for name in (declared[1].decode() if declared else "utf-8", "utf-8"):
        try:
            return raw.decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
    return raw.decode("latin-1")


def _repair(text: str) -> str:
    """Undo what Gazebo's parser lets pass: text around the root, a late XML declaration, "--" in comments, undeclared
    prefixes, attributes without quotes or given twice, "<" in attributes, "&" on its own."""
    for start, close in (("<!--", "-->"), ("<?", "?>")):
        text = "".join(_split(text, start, close)[0::2])
    end = text.rfind(">")
    text = text[max(text.find("<"), 0) : end + 1 if end >= 0 else None]
    # Control characters are not XML at all.
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufeff]", "", text)
    pieces = _split(text, "<![CDATA[", "]]>")
    for index in range(0, len(pieces), 2):
        piece = re.sub(r"&(?!#?\w{1,10};)", "&amp;", pieces[index])
        piece = re.sub(r"</([\w.:-]+)\s*>", lambda tag: f"</{tag[1].replace(':', '_')}>", piece)
        pieces[index] = _TAG.sub(_clean_tag, piece)
    return _first_root("".join(pieces))


def _split(text: str, start: str, close: str) -> list[str]:
    """Return the text outside (even places) and inside (odd ones) of `start` ... `close`, in one pass."""
    pieces, at = [], 0
    while (begin := text.find(start, at)) >= 0 and (end := text.find(close, begin + len(start))) >= 0:
        pieces += [text[at:begin], text[begin : end + len(close)]]
        at = end + len(close)
    return [*pieces, text[at:]]


def _clean_tag(tag: re.Match[str]) -> str:
    attributes: dict[str, str] = {}
    for name, value in re.findall(_ATTRIBUTE, tag[2]):
        if value[0] in "\"'":
            value = value[1:-1]
        plain = value.replace("<", "&lt;").replace('"', "&quot;")
        if not name.startswith("xmlns"):
            attributes.setdefault(name.replace(":", "_"), plain)
    inside = "".join(f' {name}="{value}"' for name, value in attributes.items())
    return f"<{tag[1].replace(':', '_')}{inside}{tag[tag.lastindex or 5]}>"


def _first_root(text: str) -> str:
    """Cut what stands after the end of the first element (a second </sdf>)."""
    opening = re.match(r"\s*(?:<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>\s*)?<([\w.-]+)", text, flags=re.DOTALL)
    if opening is None:
        return text
    depth = 0
    for tag in re.finditer(rf"<(/?){re.escape(opening[1])}(?=[\s/>])([^<>]*)>", text):
        depth += -1 if tag[1] else 0 if tag[2].endswith("/") else 1
        if depth == 0:
            return text[: tag.end()]
    return text
