"""A scripted upstream: a real server on a real socket, whose answers are a few lines of a test."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from email import message_from_bytes
from email.policy import HTTP
from typing import Any


class Upstream:
    """A server whose every connection runs a script.

    The script gets the request's body and a way to write; the last script repeats. `calls` are the
    bodies that came, `closed` is set when a client went away before the script was done, and
    `connections` is how many were made.
    """

    def __init__(self, *scripts: "Script") -> None:
        self.scripts = list(scripts)
        self.calls: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.closed = asyncio.Event()
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> "Upstream":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head.decode())
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
                self.calls.append(_decoded(head, await reader.readexactly(length)))
                script = self.scripts[min(len(self.calls), len(self.scripts)) - 1]
                task = asyncio.ensure_future(script(writer))
                gone = asyncio.ensure_future(reader.read(1))
                await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
                if not task.done():
                    self.closed.set()
                    task.cancel()
                    return
                if writer.is_closing():
                    return
                if gone.done():
                    return
                gone.cancel()
                await asyncio.wait([gone])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _decoded(head: bytes, body: bytes) -> dict[str, Any]:
    """Return a body of JSON, or the fields of a form: texts, and files as name, type and bytes."""
    content_type = head.lower().partition(b"content-type:")[2].split(b"\r\n")[0].strip()
    if not content_type.startswith(b"multipart/form-data"):
        decoded: dict[str, Any] = json.loads(body)
        return decoded
    form = message_from_bytes(b"content-type: " + content_type + b"\r\n\r\n" + body, policy=HTTP)
    fields: dict[str, Any] = {}
    for part in form.iter_parts():
        data = part.get_payload(decode=True)
        name = part.get_param("name", header="content-disposition")
        file_name = part.get_filename()
        value = data.decode() if file_name is None else (file_name, part.get_content_type(), data)
        if name.endswith("[]"):
            fields.setdefault(name, []).append(value)
        else:
            assert name not in fields
            fields[name] = value
    return fields


Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


def head(status: int = 200, content_type: str = "application/json", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"content-type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def raw(*parts: bytes | float) -> Script:
    """Write bytes as they are and sleeps for numbers of seconds; then close."""

    async def script(writer: asyncio.StreamWriter) -> None:
        for part in parts:
            if isinstance(part, bytes):
                writer.write(part)
                await writer.drain()
            else:
                await asyncio.sleep(part)
        writer.close()

    return script


def reset() -> Script:
    """Close the connection without an answer."""
    return raw()


def answer(body: bytes | dict[str, Any], status: int = 200, **headers: str) -> Script:
    """Answer JSON with its length, and keep the connection."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(head(status, content_length=str(len(content)), **headers) + content)
        await writer.drain()

    return script


def completion(content: str | None = "Hello there", **fields: Any) -> dict[str, Any]:
    """Return a chat completion as an upstream answers it."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "upstream-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 500, "completion_tokens": 1000, "total_tokens": 1500},
        **fields,
    }


def chunk(content: str | None = None, finish: str | None = None, **fields: Any) -> bytes:
    """Return a stream's event."""
    delta = {} if content is None else {"content": content}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "upstream-model",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **fields,
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


USAGE = {"prompt_tokens": 500, "completion_tokens": 1000, "total_tokens": 1500}
DONE = b"data: [DONE]\n\n"
STREAM_HEAD = head(content_type="text/event-stream")


def stream(*parts: bytes | float) -> Script:
    """Answer a stream of the parts, ended by closing the connection."""
    return raw(STREAM_HEAD, *parts)


GOOD_STREAM = (
    chunk("Hel"),
    chunk("lo"),
    chunk(finish="stop"),
    chunk(choices=[], usage=USAGE),
    DONE,
)
