"""The processes that the bench measures: started, watched and ended by it."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process on a port, ready when it accepts connections."""

    def __init__(self, command: list[str], port: int, **environment: str) -> None:
        self.port = port
        self._log = (Path(os.environ["LOCAL_DIR"]) / f"bench-{port}.log").open("wb")
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.stop()
                    raise RuntimeError(
                        f"{command} did not start:\n{Path(self._log.name).read_text()}"
                    ) from None
                time.sleep(0.05)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process, kindly at first."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _pids(self) -> list[int]:
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [self._process.pid, *map(int, children.read_text().split())]

    def cpu_seconds(self) -> float:
        """Return the CPU time that the process and its children have used."""
        ticks = 0
        for pid in self._pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICKS_PER_SECOND

    def memory_kib(self) -> int:
        """Return the resident memory of the process and its children."""
        return sum(
            int(line.split()[1])
            for pid in self._pids()
            for line in Path(f"/proc/{pid}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        )


def python(module: str, *arguments: object) -> list[str]:
    """Return the command that runs a module of ours."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def upstream() -> Server:
    """Start the upstream that answers at once."""
    port = free_port()
    return Server(python("tests.bench.upstream", port), port)


def _gunicorn(application: str, **environment: str) -> Server:
    """Start an application as the service runs, with one worker process."""
    port = free_port()
    command = python("gunicorn", "-c", "platform/config/gunicorn.py", application)
    command += ["--bind", f"127.0.0.1:{port}", "--workers", "1"]
    return Server(command, port, LOG_LEVEL="WARNING", **environment)


def bare_relay(upstream_port: int) -> Server:
    """Start the reference, on the server and with the settings that the service runs on."""
    url = f"http://127.0.0.1:{upstream_port}/v1/chat/completions"
    return _gunicorn("tests.bench.bare:app", BENCH_UPSTREAM_URL=url)


def service() -> Server:
    """Start the service."""
    return _gunicorn("config.asgi:application")
