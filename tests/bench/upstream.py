"""The bench's upstream: answers at once, from bytes made beforehand, on a raw socket protocol.

`python -m tests.bench.upstream PORT`. A streamed request gets `CHUNKS` events at 50 a second; one
whose body says `"stall"` gets a first event and then nothing.
"""

import asyncio
import sys

import uvloop

CHUNKS = 150
INTERVAL_SECONDS = 0.02

_ANSWER = (
    b'{"id":"chatcmpl-bench","object":"chat.completion","created":1790000000,"model":"bench",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"The capital of France is'
    b' Paris."},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":20,"completion_tokens":8,"total_tokens":28}}'
)
_PLAIN = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    % len(_ANSWER)
    + _ANSWER
)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_PREFIX = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1790000000,'
    b'"model":"bench",'
)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


_EVENT = _chunk(
    _PREFIX + b'"choices":[{"index":0,"delta":{"content":"tok "},"logprobs":null,'
    b'"finish_reason":null}]}\n\n'
)
_END = (
    _chunk(
        _PREFIX + b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\n'
    )
    + _chunk(
        _PREFIX + b'"choices":[],"usage":{"prompt_tokens":20,"completion_tokens":150,'
        b'"total_tokens":170}}\n\n'
    )
    + _chunk(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


class Upstream(asyncio.Protocol):
    """One connection; requests come one after the other and carry a content-length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, rest = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self._received = rest[length:]
        if b'"stream":true' not in rest:
            self._transport.write(_PLAIN)
            return
        self._transport.write(_HEAD)
        if b'"stall"' in rest:
            self._transport.write(_EVENT)
        else:
            self._left = CHUNKS
            self._due = asyncio.get_running_loop().time()
            self._write_event()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _write_event(self) -> None:
        if self._left == 0:
            self._transport.write(_END)
            return
        self._left -= 1
        self._transport.write(_EVENT)
        # By the clock, not by the last event: a late event does not slow the stream down.
        self._due += INTERVAL_SECONDS
        self._timer = asyncio.get_running_loop().call_at(self._due, self._write_event)


async def main(port: int) -> None:
    """Serve until it is killed."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
