"""The shipped nginx as a real process, in front of servers that say what they were asked."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.stack import free_port
from tests.support.forks import ROOT
from tests.support.waiting import eventually

CONFIGURATION = ROOT / "platform/docker/nginx.conf"


class Echo(BaseHTTPRequestHandler):
    """Answers the request's headers and which server it reached."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each body waits 40 ms for the head to be confirmed

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps({"server": self.server.name, "headers": headers}).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing on stderr."""


@contextmanager
def echo(name: str) -> Iterator[int]:
    """Run a server that answers with its name; give its port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.name = name  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def nginx(folder: Path, upstreams: dict[str, int], **replaced: str) -> Iterator[str]:
    """Run the shipped nginx before these local ports; give its address.

    `upstreams` are ports by the services' names in the configuration. `replaced` are further
    replacements in it, as `geo="127.0.0.0/8 1"` for a line that shall go.
    """
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    port = free_port()
    text = CONFIGURATION.read_text()
    changes = {
        "/tmp/": f"{folder}/",
        "listen 8080;": f"listen 127.0.0.1:{port};",
        **{f"{name}:8000": f"127.0.0.1:{port}" for name, port in upstreams.items()},
        **dict.fromkeys(replaced.values(), ""),
    }
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    configuration = folder / "nginx.conf"
    configuration.write_text(text)
    command = [program, "-p", str(folder), "-c", str(configuration), "-e", str(folder / "log")]
    # Root's workers would be nobody's, and have no place for large bodies in our folder.
    user = " user root;" if os.geteuid() == 0 else ""
    process = subprocess.Popen([*command, "-g", f"daemon off;{user}"])
    address = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(address), seconds=10, what="nginx does not answer")
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _answers(address: str) -> bool:
    try:
        httpx.get(address, timeout=2)
    except httpx.TransportError:
        return False
    return True
