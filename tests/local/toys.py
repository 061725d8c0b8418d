"""Stand-ins for the project's programs: `toys.py ROLE`.

Each writes to $LOCAL_DIR/events when it starts and when it is asked to stop.
"""

import http.server
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from urllib.parse import unquote

FOLDER = Path(os.environ["LOCAL_DIR"])


def note(event: str) -> None:
    """Append a line to the events."""
    with (FOLDER / "events").open("a") as file:
        file.write(event + "\n")


def servers_live() -> str:
    """Return which of the embedded servers take connections, as one word."""
    services = json.loads((FOLDER / "services.json").read_text())
    postgres = unquote(services["DATABASE_URL"].partition("host=")[2]) + "/.s.PGSQL.5432"
    valkey = services["REDIS_URL"].removeprefix("unix://").partition("?")[0]
    found = []
    for name, path in (("postgres", postgres), ("valkey", valkey)):
        with socket.socket(socket.AF_UNIX) as client:
            if client.connect_ex(path) == 0:
                found.append(name)
    return "+".join(found)


def stay(role: str) -> None:
    """Wait for SIGTERM; a program named in $STUBBORN notes it and stays."""

    def stop(number: int, frame: object) -> None:
        note(f"{role} stops beside {servers_live()}")
        if os.environ.get("STUBBORN") != role:
            os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    note(f"{role} {os.getpid()}")
    while True:
        time.sleep(60)


class Health(http.server.BaseHTTPRequestHandler):
    """Answers every request with 200."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


def web() -> None:
    """A web server; fails where $BROKEN names it."""
    if os.environ.get("BROKEN") == "web":
        sys.exit("the toy web server has a bad day")
    server = http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stay("web")


def prepare() -> None:
    """Say what `manage.py prepare_demo --json` would."""
    if os.environ.get("BROKEN") == "prepare":
        sys.exit("the toy preparation has a bad day")
    person = {"email": "toy@example.com", "password": "toy-password"}
    print(json.dumps({"level": "info", "event": "a log line"}))
    demo = {"api_key": "toy-key", "customer": person, "staff": person, "created": True}
    print(json.dumps(demo))


if __name__ == "__main__":
    role = sys.argv[1]
    {"web": web, "prepare": prepare}.get(role, lambda: stay(role))()
