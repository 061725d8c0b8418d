"""Accent colors: what is readable is taken, with all that is derived; what isn't is refused."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from portal.brand.colors import (
    DARK,
    LEAST_CONTRAST,
    LIGHT,
    SHIPPED_DARK,
    SHIPPED_LIGHT,
    ColorError,
    Scheme,
    contrast,
    mix,
    parse_accent,
    shades_of,
    stylesheet,
)

COLORS = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")
SCHEMES = [LIGHT, DARK]


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [("#ffffff", "#000000", 21), ("#777777", "#ffffff", 4.48), ("#ff0000", "#ffffff", 4.0)],
)
def test_contrast_is_that_of_wcag(one: str, other: str, ratio: float) -> None:
    assert contrast(one, other) == contrast(other, one) == pytest.approx(ratio, abs=0.01)


def test_the_backgrounds_are_those_of_the_pages() -> None:
    tokens = (Path(settings.BASE_DIR) / "static/css/tokens.css").read_text()
    shown = dict(re.findall(r"--([\w-]+): light-dark\((#\w+, #\w+)\);", tokens))
    for name in ("paper", "surface", "sunken"):
        assert shown[name] == f"{getattr(LIGHT, name)}, {getattr(DARK, name)}"
    shipped = {
        "accent": "accent",
        "accent-strong": "strong",
        "accent-soft": "soft",
        "on-accent": "text",
    }
    for token, name in shipped.items():
        assert shown[token] == f"{getattr(SHIPPED_LIGHT, name)}, {getattr(SHIPPED_DARK, name)}"


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.name)
@given(color=COLORS)
def test_a_color_is_readable_everywhere_or_refused_with_one_that_is(
    scheme: Scheme, color: str
) -> None:
    try:
        accent = parse_accent(color.upper(), scheme)
    except ColorError as error:
        worst = min(contrast(color, each) for each in scheme.backgrounds)
        assert worst < LEAST_CONTRAST
        suggested = re.findall(r"#[0-9a-f]{6}", str(error))[-1]
        assert parse_accent(suggested, scheme) == suggested
        return
    assert accent == color
    shades = shades_of(accent, scheme)
    for shade in (shades.accent, shades.strong):
        for background in (*scheme.backgrounds, shades.soft):
            assert contrast(shade, background) >= LEAST_CONTRAST, (shade, background)
        assert contrast(shades.text, shade) >= LEAST_CONTRAST


def test_the_refusal_says_what_to_change() -> None:
    with pytest.raises(ColorError, match=r"#ffcc00 has a contrast of 1\.3:1 with the light pages"):
        parse_accent("#ffcc00", LIGHT)
    with pytest.raises(ColorError, match=r"4\.5:1\. Make it darker: #[0-9a-f]{6} is enough"):
        parse_accent("#ffcc00", LIGHT)
    with pytest.raises(ColorError, match="Make it lighter"):
        parse_accent("#0a6b57", DARK)


@pytest.mark.parametrize(
    "text",
    ["", "red", "#fff", "#12345g", "#0a6b57;}", "#0a6b57\n", "rgb(0,0,0)", "#0a6b577", "url(x)"],
)
def test_only_a_hexadecimal_color_is_one(text: str) -> None:
    if text.strip() == "#0a6b57":
        assert parse_accent(text, LIGHT) == "#0a6b57"
        return
    with pytest.raises(ColorError, match="six digits"):
        parse_accent(text, LIGHT)


def test_the_stylesheet_holds_colors_alone() -> None:
    css = stylesheet(shades_of("#5b2a86", LIGHT), shades_of("#c9a7ec", DARK))
    assert css.startswith("html:root {\n")
    assert "--accent: light-dark(#5b2a86, #c9a7ec);" in css
    color = "#[0-9a-f]{6}"
    line = rf"  --[\w-]+: ({color}|light-dark\({color}, {color}\));\n"
    assert re.fullmatch(rf"html:root \{{\n({line})+\}}\n", css)


def test_a_mixture_lies_between() -> None:
    assert mix("#000000", "#ffffff", 0) == "#000000"
    assert mix("#000000", "#ffffff", 1) == "#ffffff"
    assert mix("#000000", "#ffffff", 0.5) == "#808080"
