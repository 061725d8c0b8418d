"""Accent colors: contrast by WCAG 2, the shades that are derived from an accent, their stylesheet.

Everything is computed here rather than by CSS, so that what is checked is what is shown.
"""

import re
from dataclasses import dataclass

LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3 (AA), for text
_HEX = re.compile(r"#[0-9a-f]{6}")
_STEPS = 50

RGB = tuple[int, int, int]


class ColorError(Exception):
    """A color that can't be an accent, with what to change."""


@dataclass(frozen=True)
class Scheme:
    """What an accent stands on in light or in dark: the colors of static/css/tokens.css."""

    name: str
    paper: str
    surface: str
    sunken: str
    toward: str
    """What makes a color stand out more."""
    text: str
    """Text on the accent."""

    @property
    def backgrounds(self) -> tuple[str, str, str]:
        """All that text in the accent stands on, apart from the accent's own soft shade."""
        return (self.paper, self.surface, self.sunken)


LIGHT = Scheme("light", "#f8f7f3", "#ffffff", "#f1efe9", "#000000", "#ffffff")
DARK = Scheme("dark", "#141512", "#1c1e1a", "#23251f", "#ffffff", "#10110f")


@dataclass(frozen=True)
class Shades:
    """An accent with what is derived from it."""

    accent: str
    strong: str
    soft: str
    text: str


SHIPPED_LIGHT = Shades("#0a6b57", "#07513f", "#e2f1ec", "#ffffff")
SHIPPED_DARK = Shades("#5fd0b2", "#8be3cb", "#17352d", "#06241c")


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colors, from 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def mix(color: str, other: str, share: float) -> str:
    """Return the color with this share (0 to 1) of the other one."""
    pairs = zip(_rgb(color), _rgb(other), strict=True)
    return "#{:02x}{:02x}{:02x}".format(*(round(a + (b - a) * share) for a, b in pairs))


def parse_accent(text: str, scheme: Scheme) -> str:
    """Return the color in lower case. Raise ColorError for one that isn't readable."""
    color = text.strip().lower()
    if not _HEX.fullmatch(color):
        raise ColorError("Enter a color as # and six digits, such as #0a6b57.")
    worst = min(contrast(color, background) for background in scheme.backgrounds)
    if worst >= LEAST_CONTRAST:
        return color
    direction = "darker" if scheme is LIGHT else "lighter"
    raise ColorError(
        f"{color} has a contrast of {worst:.1f}:1 with the {scheme.name} pages, and text needs"
        f" 4.5:1. Make it {direction}: {_nearest(color, scheme)} is enough."
    )


def shades_of(accent: str, scheme: Scheme) -> Shades:
    """Return the shades of an accent that `parse_accent` has returned."""
    strong = mix(accent, scheme.toward, 0.24 if scheme is LIGHT else 0.3)
    share = 0.12 if scheme is LIGHT else 0.18
    soft = mix(scheme.surface, accent, share)
    while contrast(accent, soft) < LEAST_CONTRAST:
        share -= 0.01
        soft = mix(scheme.surface, accent, share)
    return Shades(accent, strong, soft, scheme.text)


def stylesheet(light: Shades, dark: Shades) -> str:
    """Return the custom properties for the pages, and unfold's scale for the admin's."""
    properties = {
        "accent": (light.accent, dark.accent),
        "accent-strong": (light.strong, dark.strong),
        "accent-soft": (light.soft, dark.soft),
        "on-accent": (light.text, dark.text),
        "series-1": (light.accent, dark.accent),
    }
    lines = [f"  --{name}: light-dark({a}, {b});" for name, (a, b) in properties.items()]
    lines += [f"  --color-primary-{step}: {color};" for step, color in _scale(light, dark).items()]
    # More specific than the `:root` of tokens.css and of unfold, wherever this file is linked.
    return "\n".join(["html:root {", *lines, "}", ""])


def _scale(light: Shades, dark: Shades) -> dict[int, str]:
    """Return unfold's scale: links are 600 in light and 500 in dark; buttons are 600."""
    return {
        50: mix(light.soft, LIGHT.surface, 0.5),
        100: light.soft,
        200: mix(LIGHT.surface, light.accent, 0.25),
        300: dark.strong,
        400: dark.accent,
        500: dark.accent,
        600: light.accent,
        700: mix(light.accent, light.strong, 0.5),
        800: light.strong,
        900: dark.soft,
        950: dark.text,
    }


def _nearest(color: str, scheme: Scheme) -> str:
    """Return the color, moved toward black or white until it is readable."""
    for step in range(1, _STEPS + 1):
        moved = mix(color, scheme.toward, step / _STEPS)
        if all(contrast(moved, each) >= LEAST_CONTRAST for each in scheme.backgrounds):
            return moved
    return scheme.toward


def _rgb(color: str) -> RGB:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _luminance(color: str) -> float:
    """Return the relative luminance, as WCAG 2.2 defines it."""
    parts = [value / 255 for value in _rgb(color)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
