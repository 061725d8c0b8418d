"""What `make run` does: servers, demo data, web, worker and simulator, until Ctrl-C."""

import contextlib
import json
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import locks, state
from local.child import Child, environment
from local.errors import LocalError, StoppedError, stop_flag, until
from local.postgres import Postgres
from local.state import WEBHOOK_SECRET
from local.supervisor import Supervisor, obituary
from local.valkey import Valkey

LEFTOVER_SECONDS = 20
HEALTH_SECONDS = 60
WEB_GRACE_SECONDS = 10  # for streams that run when Ctrl-C comes
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Options:
    """What the environment asks for."""

    folder: Path
    port: int
    catalogue: str
    processes: int
    database_url: str
    redis_url: str

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Options":
        """Return the environment's options. Raise LocalError for a number that is none."""
        return cls(
            folder=state.local_dir(),
            port=_whole(environ, "PORT", 8000),
            catalogue=environ.get("CATALOGUE") or "default",
            processes=_whole(environ, "WEB_CONCURRENCY", 2),
            database_url=environ.get("DATABASE_URL", ""),
            redis_url=environ.get("REDIS_URL", ""),
        )


@dataclass(frozen=True)
class Programs:
    """The command lines of what runs beside the servers."""

    prepare: list[str]
    web: list[str]
    worker: list[str]
    simulator: list[str]


def programs(options: Options, simulator_port: int) -> Programs:
    """Return the project's own programs."""
    python = sys.executable
    web = [python, "-m", "gunicorn", "--bind", f"{HOST}:{options.port}"]
    web += ["--graceful-timeout", str(WEB_GRACE_SECONDS)]
    simulator = [python, "-m", "gunicorn", "--bind", f"{HOST}:{simulator_port}"]
    prepare = [python, "manage.py", "prepare_demo", "--catalogue", options.catalogue, "--json"]
    prepare += ["--demo-file", str(options.folder / "demo.json")]
    worker = [python, "-m", "celery", "-A", "config.celery", "worker", "-B", "-P", "threads"]
    worker += ["--concurrency", "4", "--schedule", str(options.folder / "celerybeat-schedule")]
    return Programs(
        prepare=prepare,
        web=[*web, "-c", "platform/config/gunicorn.py", "config.asgi:application"],
        worker=[*worker, "--loglevel", "INFO"],
        simulator=[*simulator, "-k", "asgi", "--workers", "1", "simulator.app:application"],
    )


class Run:
    """One `make run`.

    alive: the lock that the three programs inherit, so that the next run sees what a killed one
    left. commands: other programs than the project's own, for tests.
    """

    def __init__(
        self,
        options: Options,
        supervisor: Supervisor,
        alive: int,
        commands: Programs | None = None,
    ) -> None:
        self.options = options
        self.supervisor = supervisor
        self.alive = alive
        simulator_port = _simulator_port(options.port)
        self.base_url = f"http://{HOST}:{options.port}"
        self.simulator_url = f"http://{HOST}:{simulator_port}"
        self.commands = commands or programs(options, simulator_port)
        folder, logs = options.folder, options.folder / "log"
        self.secrets = state.kept_secrets(folder / "secrets.json")
        postgres = Postgres(folder / "postgres", log=logs / "postgres.log")
        valkey = Valkey(folder / "valkey", log=logs / "valkey.log")
        self.postgres = None if options.database_url else postgres
        self.valkey = None if options.redis_url else valkey
        # Each grace is a little longer than the program's own.
        self.web = self._program("web", self.commands.web, grace=WEB_GRACE_SECONDS + 2)
        self.worker = self._program("worker", self.commands.worker, grace=10)
        stripe = {
            "STRIPE_SIMULATOR_FILE": str(folder / "stripe.json"),
            "STRIPE_WEBHOOK_URL": f"{self.base_url}/webhooks/stripe",
            WEBHOOK_SECRET: self.secrets[WEBHOOK_SECRET],
        }
        self.simulator = self._program("simulator", self.commands.simulator, grace=2, **stripe)
        servers = [server for server in (self.postgres, self.valkey) if server]
        supervisor.watch(*servers, self.simulator, self.worker, self.web)

    def start(self) -> dict[str, Any]:
        """Start everything and return the demo's data once the web server answers.

        Raise LocalError where something does not come up, StoppedError where a stop was asked.
        """
        if not _is_free(self.options.port):
            raise LocalError(
                f"port {self.options.port} is taken by another program: "
                f"choose another, as in `make run PORT={self.options.port + 10}`"
            )
        services = {
            "DATABASE_URL": self.postgres.url if self.postgres else self.options.database_url,
            "REDIS_URL": self.valkey.url if self.valkey else self.options.redis_url,
            "SIMULATOR_URL": self.simulator_url,
            "BASE_URL": os.environ.get("BASE_URL") or self.base_url,
        }
        services |= {name: self.secrets[name] for name in self.secrets.keys() - {WEBHOOK_SECRET}}
        services |= self._tryout()
        # The quick ones first: they come up while PostgreSQL makes its files.
        if self.valkey:
            self.valkey.launch()
        self.simulator.start()
        if self.postgres:
            self.postgres.start()
        if self.valkey:
            self.valkey.wait_ready()
        state.write(self.options.folder / "services.json", services)
        demo = self._prepare()
        self.web.start()
        if not until(self._answers, HEALTH_SECONDS):
            raise LocalError(f"the web server gives no answer at /health\n{self.web.tail()}")
        # Last, so that it does not compete with the web server for the processors.
        self.worker.start()
        return demo

    def stop(self) -> None:
        """Stop everything, and tell later commands that nothing runs."""
        self.supervisor.stop()
        path = self.options.folder / "services.json"
        gone = {"SIMULATOR_URL", "BASE_URL", *self._tryout()}
        gone |= {"DATABASE_URL"} if self.postgres else set()
        gone |= {"REDIS_URL"} if self.valkey else set()
        services = state.read(path)
        if services:
            state.write(path, {name: services[name] for name in services.keys() - gone})

    def _tryout(self) -> dict[str, str]:
        """Return the settings for trying it out.

        Trial credit, staff who sign in with a password alone, the simulator as an upstream,
        webhooks to this machine, emails at /dev/mail (unless EMAIL_HOST is set), and payments with
        the stand-in for Stripe.
        """
        settings = {
            "TRIAL_CREDIT_DOLLARS": "1",
            "STAFF_SECOND_FACTOR": "0",
            "UPSTREAM_HOSTS": f"*,{HOST}",
            "WEBHOOKS_ALLOW_LOOPBACK": "1",
        }
        if not os.environ.get("EMAIL_HOST"):
            settings |= {"MAIL_DIR": str(self.options.folder / "mail"), "DEVELOPMENT": "1"}
        return settings | self._simulated_payments()

    def _simulated_payments(self) -> dict[str, str]:
        """Return the settings that lead to the stand-in; none where Stripe's own key is set."""
        if os.environ.get("STRIPE_SECRET_KEY"):
            return {}
        return {
            "STRIPE_SECRET_KEY": "sk_test_simulated",
            "STRIPE_API_BASE": f"{self.simulator_url}/stripe",
            WEBHOOK_SECRET: self.secrets[WEBHOOK_SECRET],
        }

    def _program(self, name: str, argv: list[str], grace: float, **more: str) -> Child:
        """Return one of the project's programs, with more variables where it needs them; its log
        is log/<name>.log.
        """
        own = {
            "LOCAL_DIR": str(self.options.folder),
            "PORT": str(self.options.port),
            "WEB_CONCURRENCY": str(self.options.processes),
            "CATALOGUE": self.options.catalogue,
            "PYTHONUNBUFFERED": "1",
            **more,
        }
        return Child(
            name,
            argv,
            log=self.options.folder / "log" / f"{name}.log",
            env=environment(own),
            cwd=state.REPO,
            grace=grace,
            lock=self.alive,
        )

    def _prepare(self) -> dict[str, Any]:
        """Let the project prepare its database; return and keep what it says of the demo.

        Raise LocalError with the end of its output where it fails.
        """
        child = self._program("prepare", self.commands.prepare, grace=5)
        log = self.options.folder / "log" / "prepare.log"
        log.unlink(missing_ok=True)
        child.start()
        try:
            until(lambda: not child.running, float("inf"))
        finally:
            child.stop()
        said = _last_object(log.read_text(errors="replace")) if child.code == 0 else None
        if said is None:
            raise LocalError(f"the database could not be prepared: {obituary(child)}")
        log.unlink()  # it holds the key and the passwords
        path = self.options.folder / "demo.json"
        demo = state.read(path) | {name: value for name, value in said.items() if value is not None}
        demo |= {"base_url": self.base_url, "simulator_url": self.simulator_url}
        state.write(path, demo)
        return demo

    def _answers(self) -> bool:
        """Return whether /health answers 200. Raise LocalError where a member has ended."""
        self.supervisor.check()
        question = f"GET /health HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
        try:
            with socket.create_connection((HOST, self.options.port), timeout=5) as connection:
                connection.sendall(question.encode())
                status_line = connection.makefile("rb").readline()
        except OSError:
            return False
        return status_line.split(b" ")[1:2] == [b"200"]


def main(commands: Programs | None = None) -> int:
    """Run until a stop is asked for; return the exit code (1 where something did not start)."""
    os.umask(0o077)  # logs and data are nobody else's business
    options = Options.read(os.environ)
    options.folder.mkdir(parents=True, exist_ok=True)
    if locks.take(options.folder / "lock") is None:
        raise LocalError(
            f"`make run` is running already in {options.folder}: stop it first, or give this one "
            f"a folder and a port of its own, as in `make run LOCAL_DIR=/tmp/other PORT=8010`"
        )
    supervisor = Supervisor(say)
    supervisor.handle_signals()
    say("starting ...")
    with contextlib.suppress(StoppedError):
        alive = locks.take_over(options.folder / "alive", LEFTOVER_SECONDS)
        if alive is None:
            raise LocalError(f"programs of an earlier run still use {options.folder}")
        run = Run(options, supervisor, alive, commands)
        try:
            say(banner(run.start(), options))
            supervisor.run()
        finally:
            if stop_flag.asked:
                say("stopping (Ctrl-C once more kills) ...")
            run.stop()
    say("stopped")
    return 0


def banner(demo: Mapping[str, Any], options: Options) -> str:
    """Return what a person needs to use the running service."""
    customer, staff = demo.get("customer", {}), demo.get("staff", {})
    url, key = demo["base_url"], demo.get("api_key", "")
    model = demo.get("model") or "glm-5.2"
    body = {"model": model, "messages": [{"role": "user", "content": "Hello!"}]}
    payments = "test mode, with a stand-in for Stripe: no money moves"
    if os.environ.get("STRIPE_SECRET_KEY"):
        payments = "by Stripe, with the account of STRIPE_SECRET_KEY"
    return f"""
{demo.get("service") or "Tollgate"} runs at {url}

  Customer   {customer.get("email")}   {customer.get("password")}
  Staff      {staff.get("email")}   {staff.get("password")}   {url}/admin/
  API key    {key}
  Email      {url}/dev/mail
  Payments   {payments}

  curl {url}/v1/chat/completions \\
    -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\
    -d '{json.dumps(body)}'

Logs: {options.folder / "log"}
Ctrl-C stops everything; data is kept in {options.folder}
"""


def say(text: str) -> None:
    """Print a message at once, however the output is buffered."""
    print(text, flush=True)


def _last_object(text: str) -> dict[str, Any] | None:
    """Return the last line that is a JSON object about a demo; warnings may surround it."""
    for line in reversed(text.splitlines()):
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict) and "customer" in value:
                return value
    return None


def _whole(environ: Mapping[str, str], name: str, default: int) -> int:
    """Return a variable that is a positive whole number. Raise LocalError where it is none."""
    text = environ.get(name) or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise LocalError(f"{name}={text!r} is no positive whole number")
    return int(text)


def _simulator_port(web_port: int) -> int:
    """Return the port after the web server's if it is free, else any free one."""
    if _is_free(web_port + 1):
        return web_port + 1
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    """Return whether a server could listen on the port (connections that end do not matter)."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return False
    return True
