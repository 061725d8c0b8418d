"""Requests as forms (RFC 7578, multipart/form-data), as OpenAI's endpoints that take files have it.

A form's fields become the same mapping that a JSON body is: a name that ends in `[]` or comes twice
is a list. All values are texts or files, so dialects convert them leniently.
"""

import re
from collections.abc import Iterator, Mapping
from secrets import token_hex
from typing import Any

import msgspec

from api import errors
from api.catalogue.snapshot import ModelEntry, RouteEntry
from api.dialects.base import OpenAiFamily, ParsedRequest
from api.dialects.fields import passed_fields
from api.phrases import Phrase

# Unknown to clients, so that no file of theirs can hold it and add parts to our call.
BOUNDARY = f"form-{token_hex(16)}"
UNTYPED = "application/octet-stream"

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}/[A-Za-z0-9!#$&^_.+-]{1,64}")
# As browsers do it (WHATWG, multipart form data).
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


class FormFile(msgspec.Struct, frozen=True, gc=False):
    """A file in a form. `name` is what the client calls it."""

    name: str
    content_type: str
    data: bytes


class TakesForms:
    """A mark of dialects whose clients send forms; with `takes_json`, or JSON."""

    takes_json = False


class FormDialect(TakesForms, OpenAiFamily):
    """What dialects share whose requests are forms, from the client and to the upstream."""

    def upstream_headers(self, api_key: str) -> Mapping[str, str]:
        """Return the header with the key, if there is one, and the body's type."""
        content_type = f"multipart/form-data; boundary={BOUNDARY}"
        return {**super().upstream_headers(api_key), "content-type": content_type}

    def upstream_body(
        self, request: ParsedRequest, model: ModelEntry, route: RouteEntry, max_tokens: int
    ) -> bytes:
        """Return the client's own fields, as far as they go upstream, with its model's name."""
        body = passed_fields(request.fields, self.known_fields, model, route)
        return encode_form({**body, "model": route.upstream_model})


def encode_form(fields: Mapping[str, Any]) -> bytes:
    """Return a form's body, whose parts `BOUNDARY` delimits. Lists are fields `name[]`."""
    parts: list[bytes] = []
    for name, value in fields.items():
        values = value if isinstance(value, list) else [value]
        shown = f"{name}[]" if isinstance(value, list) else name
        for each in values:
            parts += _part(shown, each)
    return b"".join((*parts, f"--{BOUNDARY}--\r\n".encode()))


def _part(name: str, value: Any) -> Iterator[bytes]:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name.translate(_ESCAPES)}"'
    if isinstance(value, FormFile):
        content_type = value.content_type
        if not _MEDIA_TYPE.fullmatch(content_type):
            content_type = UNTYPED
        file_name = value.name.translate(_ESCAPES)
        yield f'{head}; filename="{file_name}"\r\nContent-Type: {content_type}\r\n\r\n'.encode()
        yield value.data
    else:
        yield f"{head}\r\n\r\n{value}".encode(errors="replace")
    yield b"\r\n"


def take_file(fields: Mapping[str, Any], name: str) -> FormFile:
    """Return the one file of that name. Raise a 400 error of `api.errors`."""
    value = fields.get(name)
    if value is None:
        raise errors.MissingParameterError.about(name, param=name)
    check_file(value, name)
    assert isinstance(value, FormFile)  # noqa: S101 - checked
    return value


def check_file(value: object, place: str) -> None:
    """Refuse what is no file, or an empty one."""
    if not isinstance(value, FormFile):
        raise errors.InvalidTypeError(
            Phrase("Invalid type for '{place}': expected one file, with its name.", place=place),
            param=place,
        )
    if not value.data:
        raise errors.InvalidValueError(
            Phrase("Invalid '{place}': the file is empty.", place=place), param=place
        )
