"""Forms as clients send them: multipart/form-data, with files."""

from typing import Any

Field = tuple[str, Any]

BOUNDARY = "client-boundary"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(*fields: Field) -> bytes:
    """Return a form's body: texts, and files as name, type and bytes."""
    parts = b""
    for name, value in fields:
        parts += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if isinstance(value, tuple):
            file_name, content_type, data = value
            head = f'; filename="{file_name}"\r\nContent-Type: {content_type}\r\n\r\n'
            parts += head.encode() + data
        else:
            parts += f"\r\n\r\n{value}".encode()
        parts += b"\r\n"
    return parts + f"--{BOUNDARY}--\r\n".encode()
