"""Multipart forms, as audio and picture edits come in them."""

from email.message import Message
from typing import Any, NamedTuple

from simulator.errors import SimulatedError
from simulator.exchange import Request


class File(NamedTuple):
    """An uploaded file."""

    field: str
    name: str
    content_type: str
    data: bytes


class Form(NamedTuple):
    """The fields of a form, and its files apart from them."""

    fields: dict[str, Any]
    files: list[File]

    def named(self, *names: str) -> list[File]:
        """Return the files of these fields."""
        return [file for file in self.files if file.field in names]


def read_form(request: Request) -> Form:
    """Return the request's form. Raise SimulatedError for anything else.

    A field that comes twice, or is named `name[]`, is a list.
    """
    if request.too_large:
        raise SimulatedError("The body is too large.", status=413)
    kind, boundary = _parameter(request.headers.get("content-type", ""), "boundary")
    if kind != "multipart/form-data" or not boundary:
        raise SimulatedError("The body is not multipart/form-data.")
    _, *parts = (b"\r\n" + request.body).split(b"\r\n--" + boundary.encode())
    if not parts or not parts[-1].startswith(b"--"):
        raise SimulatedError("The form is cut off.")
    fields: dict[str, Any] = {}
    files: list[File] = []
    for part in parts[:-1]:
        head, _, data = part.partition(b"\r\n\r\n")
        headers = _headers(head)
        _, name = _parameter(headers.get("content-disposition", ""), "name")
        _, filename = _parameter(headers.get("content-disposition", ""), "filename")
        field = name.removesuffix("[]")
        if filename:
            content_type = headers.get("content-type", "application/octet-stream")
            files.append(File(field, filename, content_type, data))
        elif field != name or field in fields:
            known = fields.get(field, [])
            fields[field] = [*(known if isinstance(known, list) else [known]), _text(data)]
        else:
            fields[field] = _text(data)
    return Form(fields, files)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _headers(head: bytes) -> dict[str, str]:
    lines = [line.partition(":") for line in _text(head).split("\r\n")]
    return {name.strip().lower(): value.strip() for name, _, value in lines if name.strip()}


def _parameter(value: str, name: str) -> tuple[str, str]:
    """Return a header's own value, and that of one of its parameters."""
    message = Message()
    message["content-type"] = value
    found = message.get_param(name, "")
    return message.get_content_type() if value else "", found if isinstance(found, str) else ""
