"""Reading of forms (multipart/form-data) by Django's parser, wholly in memory.

The body is in memory and bounded before it is read here, so a file is at most as large as a body
may be, and nothing is written to disk.
"""

from io import BytesIO
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.core.files.uploadhandler import FileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from api.dialects.form import UNTYPED, FormFile

# Django's parser looks for the boundary in pieces of this size.
CHUNK_BYTES = 1024 * 1024


class UnacceptableFormError(Exception):
    """A body that is no form; its message says why."""


class _InMemory(FileUploadHandler):
    """A handler that keeps files in memory, whatever their size."""

    chunk_size = CHUNK_BYTES

    def __init__(self) -> None:
        super().__init__()
        self.files: list[tuple[str, FormFile]] = []
        self._parts: list[bytes] = []

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._parts = []

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._parts.append(raw_data)

    def file_complete(self, file_size: int) -> None:
        data = b"".join(self._parts)
        file = FormFile(self.file_name or "", self.content_type or UNTYPED, data)
        self.files.append((self.field_name or "", file))


def decode_form(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the fields of a form: texts and `FormFile`s, or lists of them.

    A name that ends in `[]`, or comes more than once, is a list. Raise UnacceptableFormError.
    """
    handler = _InMemory()
    meta = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body))}
    try:
        texts, _ = MultiPartParser(meta, BytesIO(body), [handler], "utf-8").parse()
    except (MultiPartParserError, SuspiciousOperation) as error:
        raise UnacceptableFormError(str(error)) from None
    fields: dict[str, Any] = {}
    found = [(name, value) for name, values in texts.lists() for value in values]
    for name, value in [*found, *handler.files]:
        bare = name.removesuffix("[]")
        known = fields.get(bare)
        if isinstance(known, list):
            known.append(value)
        elif known is not None:
            fields[bare] = [known, value]
        else:
            fields[bare] = value if bare == name else [value]
    return fields
