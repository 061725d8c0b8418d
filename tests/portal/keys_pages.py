"""What the tests of the keys' pages share: a catalogue, forms as browsers send them, texts."""

import html
import re
from typing import Any

from django.test import Client

from tests.support import catalogues

URL = "/settings/apikeys"
_PLAINTEXT = re.compile(r"sk-tg-[0-9A-Za-z]{38}")


def load_catalogue(monkeypatch: Any, name: str = "default") -> None:
    """Load a shipped catalogue, whose upstream nobody calls."""
    monkeypatch.setenv("SIMULATOR_URL", "http://127.0.0.1:9")
    catalogues.load_catalogue(name)


def new_form(client: Client, **fields: Any) -> dict[str, Any]:
    """Return the form of a new key as a browser would send it, its token included."""
    page = client.get(f"{URL}/new").content.decode()
    (token,) = re.findall(r'name="token" value="([^"]+)"', page)
    return {"token": token, "name": "CI", "scope": "inference", "expiry": "never", **fields}


def make(client: Client, **fields: Any) -> Any:
    """Make a key by the form and return the answer."""
    return client.post(f"{URL}/new", new_form(client, **fields))


def plaintexts(response: Any) -> set[str]:
    """Return every plaintext key in an answer."""
    return set(_PLAINTEXT.findall(html.unescape(response.content.decode())))


def errors(response: Any) -> dict[str, list[str]]:
    """Return the form's errors, by field."""
    return {name: list(texts) for name, texts in response.context["form"].errors.items()}
