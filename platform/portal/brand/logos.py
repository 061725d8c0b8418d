"""Logos: what an uploaded file must be. What is stored is written again from what was read.

An SVG is a document that can run scripts and load files. Only drawing is accepted, from lists of
elements and attributes; anything else is refused by its name. Comments, processing instructions and
the private marks of drawing programs are dropped. The reply that carries a logo has a policy of its
own as well (portal/home/views.py).
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import cast
from xml.etree import ElementTree as ET

MOST_BYTES = 200_000
SVG, PNG = "image/svg+xml", "image/png"
PNG_SIDES = range(64, 1025)

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_MOST_ELEMENTS, _MOST_DEPTH = 3_000, 40
_ELEMENTS = """svg g path rect circle ellipse line polyline polygon text tspan title desc defs
    linearGradient radialGradient stop clipPath mask style"""
_ATTRIBUTES = """id class style d x y x1 y1 x2 y2 cx cy r rx ry fx fy dx dy width height viewBox
    version points transform preserveAspectRatio role
    fill fill-opacity fill-rule stroke stroke-width stroke-linecap stroke-linejoin stroke-miterlimit
    stroke-dasharray stroke-dashoffset stroke-opacity opacity color display visibility
    clip-path clip-rule clipPathUnits mask maskUnits maskContentUnits mask-type
    offset stop-color stop-opacity gradientUnits gradientTransform spreadMethod
    font-family font-size font-weight font-style text-anchor letter-spacing dominant-baseline
    vector-effect paint-order enable-background shape-rendering text-rendering"""
_ALLOWED_ELEMENTS = frozenset(_ELEMENTS.split())
_ALLOWED_ATTRIBUTES = frozenset(_ATTRIBUTES.split())
# Of a URL, only a reference into the same file; of CSS, no rule that loads and no escape.
_OWN_URL = re.compile(r"""url\(\s*(["']?)#[\w.:-]+\1\s*\)""", re.IGNORECASE)
_FOREIGN = re.compile(r"""url|[@\\<]|:\s*//|javascript|expression|-moz-binding|image""", re.I)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"sRGB", b"gAMA", b"cHRM", b"IDAT", b"IEND")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


class LogoError(Exception):
    """A file that can't be a logo, with what to change."""


def parse_logo(content: bytes) -> tuple[bytes, str]:
    """Return the logo to store and its content type. Raise LogoError."""
    if len(content) > MOST_BYTES:
        raise LogoError(f"The file has {len(content):,} bytes; the most is {MOST_BYTES:,}.")
    if content.startswith(_PNG_SIGNATURE):
        return _png(content), PNG
    return _svg(content), SVG


def _svg(content: bytes) -> bytes:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise LogoError("The file is neither a PNG nor an SVG in UTF-8.") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise LogoError("Remove the DOCTYPE: it can define entities.")
    root = _tree(text)
    _check_square(root)
    ET.register_namespace("", _SVG)
    written: bytes = ET.tostring(root, encoding="utf-8")
    if len(written) > MOST_BYTES:
        raise LogoError(f"Written out, it has more than {MOST_BYTES:,} bytes.")
    return written


def _tree(text: str) -> ET.Element:
    """Return the drawing with only what is allowed. Raise LogoError for the rest."""
    parser = ET.XMLPullParser(["start", "end"])
    root: ET.Element | None = None
    depth = count = 0
    try:
        parser.feed(text)  # as text, so that no declared encoding has it read differently
        parser.close()
        events = cast("Iterator[tuple[str, ET.Element]]", parser.read_events())
        for event, element in events:
            depth += 1 if event == "start" else -1
            count += event == "start"
            if depth > _MOST_DEPTH or count > _MOST_ELEMENTS:
                raise LogoError("The drawing is too complex: simplify it, or upload a PNG.")
            root = element if root is None else root
    except ET.ParseError as error:
        raise LogoError(f"The file is neither a PNG nor an SVG: {error}.") from None
    if root is None or root.tag != f"{{{_SVG}}}svg":
        raise LogoError("The file is neither a PNG nor an SVG.")
    _clean(root)
    return root


def _clean(element: ET.Element) -> None:
    name = _local(element.tag)
    if name not in _ALLOWED_ELEMENTS:
        raise LogoError(f"Remove the element <{name}>: a logo can only hold shapes.")
    for key in list(element.attrib):
        if key.startswith("{"):
            if key.startswith(f"{{{_XLINK}}}"):
                raise LogoError("Remove xlink:href: a logo can't refer to anything.")
            del element.attrib[key]  # a drawing program's own, or xml:space
        else:
            _check_attribute(key, element.attrib[key])
    if name == "style":
        _check_style(element.text or "")
    for child in list(element):
        if _is_private(child):
            element.remove(child)
        else:
            _clean(child)


def _check_attribute(key: str, value: str) -> None:
    if key not in _ALLOWED_ATTRIBUTES:
        raise LogoError(f"Remove the attribute {key}: a logo can only hold shapes.")
    if key in {"id", "class", "font-family", "d", "points"} and "(" not in value:
        return
    _check_style(value)


def _check_style(text: str) -> None:
    found = _FOREIGN.search(_OWN_URL.sub("", text))
    if found:
        raise LogoError(
            f"Remove {found[0]!r} from its styles: a logo can't load or refer to anything."
        )


def _is_private(element: ET.Element) -> bool:
    """Return whether it is metadata, or of a drawing program, which no browser shows."""
    tag = str(element.tag)
    editors = ("inkscape", "sodipodi", "sketch", "serif", "vectornator", "creativecommons")
    return tag == f"{{{_SVG}}}metadata" or (
        tag.startswith("{") and any(name in tag.partition("}")[0] for name in editors)
    )


def _local(tag: object) -> str:
    """Return an element's name: SVG's without its namespace, another's with it."""
    return str(tag).removeprefix(f"{{{_SVG}}}")


def _check_square(root: ET.Element) -> None:
    box = root.get("viewBox", "").replace(",", " ").split()
    sides = box[2:] if len(box) == 4 else [root.get("width", ""), root.get("height", "")]
    try:
        width, height = (float(side.removesuffix("px")) for side in sides)
    except ValueError:
        raise LogoError("Give the <svg> a viewBox, such as 0 0 32 32.") from None
    if not (0 < width < 1e5 and 0 < height < 1e5 and abs(width / height - 1) < 0.02):
        raise LogoError(f"It is {width:g} by {height:g}. {_SQUARE}")
    root.set("viewBox", " ".join(box) if len(box) == 4 else f"0 0 {width:g} {height:g}")
    root.attrib.pop("width", None)
    root.attrib.pop("height", None)


_SQUARE = "Upload a square logo: it is the browser's icon too, and the name is shown beside it."


def _png(content: bytes) -> bytes:
    """Return the picture without what it holds besides: comments, places, other programs' data."""
    chunks = list(_chunks(content))
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise LogoError("The PNG is damaged.")
    width, height, depth, color, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    if width != height:
        raise LogoError(f"It is {width} by {height} pixels. {_SQUARE}")
    if width not in PNG_SIDES:
        raise LogoError(
            f"It is {width} by {height} pixels; {PNG_SIDES[0]} to {PNG_SIDES[-1]} are allowed."
        )
    if color not in _CHANNELS or depth not in {1, 2, 4, 8, 16} or rest[:2] != [0, 0]:
        raise LogoError("The PNG is damaged.")
    _check_pixels(b"".join(data for kind, data in chunks if kind == b"IDAT"), width, depth, color)
    kept = (chunk for chunk in chunks if chunk[0] in _PNG_CHUNKS)
    return _PNG_SIGNATURE + b"".join(_chunk(kind, data) for kind, data in kept)


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and data of each chunk up to the end. Raise LogoError for damage."""
    place = len(_PNG_SIGNATURE)
    while place + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, place)
        kind, data = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        place += 12 + length
        if place > len(content) or content[place - 4 : place] != _crc(kind, data):
            raise LogoError("The PNG is damaged.")
        yield kind, data
        if kind == b"IEND":
            return
    raise LogoError("The PNG is damaged: it has no end.")


def _check_pixels(compressed: bytes, side: int, depth: int, color: int) -> None:
    """Raise LogoError unless the data are as many as the picture needs, whatever they claim."""
    most = side * (side * depth * _CHANNELS[color] // 8 + 2) * 2  # interlaced ones have more
    unpacker = zlib.decompressobj()
    try:
        pixels = unpacker.decompress(compressed, most)
    except zlib.error:
        raise LogoError("The PNG is damaged.") from None
    least = side * (side * depth * _CHANNELS[color] // 8)
    if not unpacker.eof or len(pixels) < least:
        raise LogoError("The PNG is damaged.")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + _crc(kind, data)


def _crc(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(kind + data))
