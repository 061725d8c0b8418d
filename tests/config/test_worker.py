"""Gunicorn's worker as the service runs it, with an application of the test's own."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.stack import free_port
from tests.support.forks import ROOT
from tests.support.waiting import eventually

BODY = b"x" * 5_000_000
# Answers with the body's length, and goes on for a while after that.
APPLICATION = """
import asyncio, time

class Application:
    def shut_down(self):
        pass

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            for state in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{state}.complete"})
            return
        size, message = 0, {"more_body": True}
        while message.get("more_body"):
            message = await receive()
            size += len(message.get("body", b""))
        answer = b"%d" % size
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})
        for _ in range(20):
            time.sleep(0.005)
            await asyncio.sleep(0)

application = Application()
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "late.py").write_text(APPLICATION)
    port = free_port()
    command = [str(Path(sys.executable).parent / "gunicorn"), "--chdir", str(tmp_path)]
    command += ["-c", str(ROOT / "platform/config/gunicorn.py"), "late:application"]
    process = subprocess.Popen(command, env=os.environ | {"PORT": str(port)})
    try:
        eventually(lambda: connected(port), what="gunicorn does not listen")
        yield port
    finally:
        process.terminate()
        process.wait(30)


def connected(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    return False


def test_a_large_body_right_after_an_answer_is_answered_on_the_same_connection(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        for _ in range(6):
            head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(BODY)
            client.sendall(head + BODY)
            answer = b""
            while not answer.endswith(b"\r\n\r\n%d" % len(BODY)):
                part = client.recv(65_536)
                assert part, f"closed after {answer!r}"
                answer += part
