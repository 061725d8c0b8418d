"""The frame of the stand-in's pages. Each says that no money moves here."""

from datetime import UTC, datetime
from html import escape
from pathlib import Path

STYLE = Path(__file__).with_name("style.css").read_text()


def page(title: str, inner: str, *, kind: str = "") -> str:
    """Return a whole page. inner: HTML; kind: "wide" for one with columns."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} · test mode</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<p class="mark">Test mode: no money moves</p>
<main class="{kind}">
{inner}
</main>
</body>
</html>
"""


def message(title: str, text: str) -> str:
    """Return a page that says one thing."""
    return page(title, f'<div class="paper"><h1>{escape(title)}</h1><p>{escape(text)}</p></div>')


def money(cents: int) -> str:
    """Return an amount as a person reads it."""
    sign = "-" if cents < 0 else ""
    return f"{sign}${abs(cents) / 100:,.2f}"


def day(seconds: int) -> str:
    """Return the date of a time in unix seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%d %b %Y")


def sums(rows: list[tuple[str, int]]) -> str:
    """Return a list of amounts in cents, the last of which is their sum."""
    last = len(rows) - 1
    inner = "".join(
        f"<div{' class=sum' if index == last else ''}><dt>{escape(name)}</dt>"
        f"<dd>{money(cents)}</dd></div>"
        for index, (name, cents) in enumerate(rows)
    )
    return f"<dl>{inner}</dl>"


def alert(text: str) -> str:
    """Return what went wrong, or nothing."""
    return f'<p class="bad" role="alert">{escape(text)}</p>' if text else ""


def button(action: str, label: str, *, kind: str = "", about: str = "", **fields: str) -> str:
    """Return a button that posts fields. about: what a screen reader hears besides the label."""
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(value)}">'
        for name, value in fields.items()
    )
    heard = f' aria-label="{escape(f"{label} {about}")}"' if about else ""
    return (
        f'<form method="post" action="{escape(action)}">{hidden}'
        f'<button class="{kind}"{heard}>{escape(label)}</button></form>'
    )


def link(url: str | None, label: str) -> str:
    """Return a way back, or nothing where there is none."""
    return f'<a class="back" href="{escape(url)}">{escape(label)}</a>' if url else ""
