"""Logos: drawings and pictures are taken, and nothing that could run, load or hide anything."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from django.conf import settings

from portal.brand.logos import MOST_BYTES, PNG, SVG, LogoError, parse_logo
from tests.portal import pictures
from tests.portal.pictures import chunk, png

NS = 'xmlns="http://www.w3.org/2000/svg"'


def svg(inside: str, attributes: str = "") -> bytes:
    return f'<svg {NS} viewBox="0 0 32 32" {attributes}>{inside}</svg>'.encode()


HOSTILE = {
    "script": "<script>alert(1)</script>",
    "script of another case": "<SCRIPT>alert(1)</SCRIPT>",
    "event": '<rect width="1" height="1" onclick="alert(1)"/>',
    "event on load": '<g onload="alert(1)"/>',
    "foreignObject": "<foreignObject><p>x</p></foreignObject>",
    "html": '<h:script xmlns:h="http://www.w3.org/1999/xhtml">alert(1)</h:script>',
    "html in metadata's clothes": '<m:metadata xmlns:m="http://www.w3.org/1999/xhtml"/>',
    "link": '<a href="https://evil.example"><rect width="1" height="1"/></a>',
    "link to a script": '<a href="javascript:alert(1)"><rect width="1" height="1"/></a>',
    "image": '<image href="https://evil.example/x.png"/>',
    "image in the file": '<image href="data:image/png;base64,AAAA"/>',
    "use of another file": '<use href="https://evil.example/x.svg#a"/>',
    "use, which multiplies": '<g id="a"/><use href="#a"/>',
    "xlink": '<g xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="https://evil.example"/>',
    "animation to a script": '<animate attributeName="href" to="javascript:alert(1)"/>',
    "set": '<set attributeName="onclick" to="alert(1)"/>',
    "filter that loads": '<filter id="f"><feImage href="https://evil.example"/></filter>',
    "import": "<style>@import url(https://evil.example/x.css);</style>",
    "import without a url": "<style>@import 'https://evil.example/x.css';</style>",
    "font": "<style>@font-face{font-family:x;src:url(//evil.example/x.woff)}</style>",
    "escaped css": r"<style>rect{fill:\75rl(https://evil.example)}</style>",
    "css in a comment's place": "<style>rect{fill:u/**/rl(x);background:image-set('x')}</style>",
    "url in an attribute": '<rect width="1" height="1" fill="url(https://evil.example/x#a)"/>',
    "url in quotes": """<rect width="1" height="1" style="fill:url('//evil.example#a')"/>""",
    "url in a mask": '<rect width="1" height="1" mask="url(https://evil.example/m.svg#m)"/>',
    "url in the id": '<g id="url(https://evil.example)"/>',
    "expression": '<rect width="1" height="1" style="width:expression(alert(1))"/>',
    "iframe": '<iframe src="https://evil.example"/>',
    "unknown": "<video/>",
    "external data": '<rect width="1" height="1" data-x="1"/>',
}


@pytest.mark.parametrize("inside", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_svg_is_refused_with_a_reason(inside: str) -> None:
    with pytest.raises(LogoError, match=r"^(Remove|The file is neither)"):
        parse_logo(svg(inside))


@pytest.mark.parametrize(
    "content",
    [
        f'<!DOCTYPE svg [<!ENTITY x "y">]><svg {NS} viewBox="0 0 1 1"/>'.encode(),
        f'<?xml version="1.0"?><!DOCTYPE svg SYSTEM "https://evil.example"><svg {NS}/>'.encode(),
        f'<svg {NS} viewBox="0 0 1 1"><title>&x;</title></svg>'.encode(),
        f'<svg {NS} viewBox="0 0 1 1">'.encode(),
        b'<svg viewBox="0 0 1 1"/>',
        b"<html><script>alert(1)</script></html>",
        b"GIF89a",
        b"",
        "<svg/>".encode("utf-16"),
        svg("", 'onload="alert(1)"'),
        svg("<g>" * 60 + "</g>" * 60),
        svg("<g/>" * 4_000),
        svg("<g>" * 20_000 + "</g>" * 20_000),
    ],
)
def test_what_is_no_drawing_is_refused(content: bytes) -> None:
    with pytest.raises(LogoError):
        parse_logo(content)


def test_a_declared_encoding_changes_nothing() -> None:
    hidden = '<?xml version="1.0" encoding="utf-7"?>' + svg("+ADw-script+AD4-").decode()
    stored, _ = parse_logo(hidden.encode())
    assert b"<script" not in stored
    assert b"encoding" not in stored or b"utf-8" in stored.lower()


def test_a_drawing_is_stored_without_what_programs_add() -> None:
    drawing = (
        f'<?xml version="1.0"?><?xml-stylesheet href="https://evil.example/x.css"?>'
        f'<!-- made by a program --><svg {NS} xmlns:i="http://www.inkscape.org/namespaces/inkscape"'
        f' width="32px" height="32px" i:version="1"><i:view/><metadata><secret/></metadata>'
        '<defs><linearGradient id="a"><stop offset="0" stop-color="#000"/></linearGradient></defs>'
        "<style>.b{fill:url(#a)}</style>"
        """<rect class="b" width="32" height="32" style="fill:url('#a')"/></svg>"""
    )
    stored, kind = parse_logo(drawing.encode())
    assert kind == SVG
    for gone in (b"evil", b"program", b"inkscape", b"secret", b"<?xml-"):
        assert gone not in stored
    root = ET.fromstring(stored)
    assert root.get("viewBox") == "0 0 32 32"
    assert stored.count(b"url(") == 2
    assert parse_logo(stored) == (stored, SVG), "what is stored is taken again as it is"


def test_the_shipped_icon_would_be_taken() -> None:
    stored, kind = parse_logo((Path(settings.BASE_DIR) / "static/icon.svg").read_bytes())
    assert kind == SVG
    assert b"#0a6b57" in stored


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (svg("").replace(b"0 0 32 32", b"0 0 64 32"), "64 by 32. Upload a square logo"),
        (svg("").replace(b'viewBox="0 0 32 32"', b""), "Give the <svg> a viewBox"),
        (svg("").replace(b"0 0 32 32", b"0 0 0 0"), "square"),
        (svg("").replace(b"0 0 32 32", b"0 0 nan nan"), "square"),
        (png(64, 128), "64 by 128 pixels. Upload a square logo"),
        (png(32, 32), "64 to 1024 are allowed"),
        (png(2048, 2048, pixels=b""), "64 to 1024 are allowed"),
        (b" " * (MOST_BYTES + 1), "the most is 200,000"),
        (png()[:-20], "damaged"),
        (png().replace(b"IDAT", b"IDAX"), "damaged"),
        (png(pixels=b"\0" * 100), "damaged"),
        (png(pixels=b"\0" * 64 * 64 * 30), "damaged"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
        (b"\x89PNG\r\n\x1a\n<svg onload=alert(1)>", "damaged"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_change(content: bytes, reason: str) -> None:
    with pytest.raises(LogoError, match=reason.replace("(", r"\(")):
        parse_logo(content)


def test_a_png_is_stored_without_what_it_holds_besides() -> None:
    secret = chunk(b"tEXt", b"Comment\0secret place")
    stored, kind = parse_logo(png(64, 64, secret, chunk(b"eXIf", b"secret")) + b"<script>secret")
    assert kind == PNG
    assert b"secret" not in stored
    assert stored == png(64, 64)


def test_the_simple_drawing_is_taken() -> None:
    assert parse_logo(pictures.SVG)[1] == SVG
