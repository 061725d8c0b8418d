"""The whole service as real processes, for tests that use it as a client would.

A stack has a database of its own, the simulator as its upstream, web workers and, if asked, Celery.
Its processes die with the test run; its logs are in its folder.
"""

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg

from local.child import Child
from local.migrated import copy_cluster
from local.postgres import Postgres
from local.valkey import Valkey
from tests import audit
from tests.commands import Commands
from tests.stripe_simulator import StripeSimulator
from tests.support import fresh_programs
from tests.support.forks import ROOT
from tests.support.waiting import eventually

SECRETS = {
    "SECRET_KEY": "only-for-tests-" * 4,
    "API_KEY_PEPPERS": "1:" + "5a" * 32,
    "ENCRYPTION_KEYS": "1:" + "e7" * 32,
}
# PostgreSQL may be killed here, but not the machine: nothing waits for its disk.
SURVIVES_KILLS = {"fsync": "off", "full_page_writes": "off"}
WEBHOOK_SECRET = "whsec_only_for_tests"
WEB_COMMAND = ["gunicorn", "-c", "platform/config/gunicorn.py", "config.asgi:application"]


def free_port() -> int:
    """Return a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stack:
    """PostgreSQL, Valkey, simulator and web workers in one folder.

    workers: web processes. catalogue: which of `api/catalogues`. environment: variables for the
    service's processes, over the scaled defaults here. Use it as a context manager; `start_web` and
    the like restart parts. `stripe` is its stand-in for Stripe, which sends its webhooks here.
    """

    def __init__(
        self, folder: Path, *, workers: int = 1, catalogue: str = "default", **environment: str
    ) -> None:
        self.folder = folder
        self.workers = workers
        self.catalogue = catalogue
        self.demo: dict[str, Any] = {}
        self.postgres = Postgres(folder / "postgres", quick=True, settings=SURVIVES_KILLS)
        self.valkey = Valkey(folder / "valkey")
        self.port = free_port()
        self.simulator_port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.simulator_url = f"http://127.0.0.1:{self.simulator_port}"
        self.stripe = StripeSimulator(f"{self.simulator_url}/stripe")
        self.web: Child | None = None
        self.worker: Child | None = None
        self.simulator: Child | None = None
        self._environment = environment
        self._web_environment: dict[str, str] = {}
        self._commands: Commands | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the service's processes."""
        return {
            **os.environ,
            **SECRETS,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "LOCAL_DIR": str(self.folder),
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.valkey.url,
            "SIMULATOR_URL": self.simulator_url,
            "BASE_URL": self.base_url,
            "PORT": str(self.port),
            "WEB_CONCURRENCY": str(self.workers),
            "SWEEP_SECONDS": "1",
            "AUTO_TOP_UP_SECONDS": "1",
            "HOLD_GRACE_SECONDS": "2",
            "MAIL_DIR": str(self.folder / "mail"),
            "DEVELOPMENT": "1",
            "RECENT_SIGN_IN_SECONDS": "86400",
            "STRIPE_SECRET_KEY": "sk_test_simulated",
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "STRIPE_API_BASE": self.stripe.url,
            "STRIPE_WEBHOOK_URL": f"{self.base_url}/webhooks/stripe",
            # All of the tests' browsers are on one machine.
            **dict.fromkeys(("SIGN_IN_RATE", "SIGN_UP_RATE", "PASSWORD_RESET_RATE"), "10000/h"),
            "STAFF_SECOND_FACTOR": "0",
            "UPSTREAM_HOSTS": "*,127.0.0.1",
            "SIGN_UPS_PER_DAY": "10000",
            **dict.fromkeys(("REFUSALS_PER_MINUTE", "ADDRESS_REFUSALS_PER_MINUTE"), "1000000"),
            "FREE_REQUESTS_PER_MINUTE": "100000",
            "FREE_TOKENS_PER_MINUTE": "1000000000",
            "TRIAL_CREDIT_DOLLARS": "1",
            **self._environment,
        }

    def __enter__(self) -> "Stack":
        try:
            self._commands = Commands(self.environment)
            self.valkey.launch()
            copy_cluster(self.folder / "postgres")
            self.postgres.start()
            self.valkey.wait_ready()
            self._start_simulator()
            self.load_catalogue(self.catalogue)
            self.start_web()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        for child in (self.worker, self.web, self.simulator):
            if child is not None:
                child.stop()
        if self._commands is not None:
            self._commands.close()
        self.valkey.stop()
        self.postgres.stop("immediate")

    def load_catalogue(self, name: str) -> None:
        """Bring the service to a catalogue, as `make run CATALOGUE=name` does; a second one
        replaces the first. `demo` is then the demo customer's key and logins.
        """
        demo_file = str(self.folder / "demo.json")
        arguments = ["--catalogue", name, "--demo-file", demo_file, "--json"]
        self.demo = json.loads(self.manage("prepare_demo", *arguments))
        self.catalogue = name

    def manage(self, *arguments: str) -> str:
        """Run a management command and return what it prints; fails where it does."""
        code, said, complained = self.run_command(*arguments)
        assert code == 0, said + complained
        return said

    def run_command(self, *arguments: str, failpoint: str = "") -> tuple[int, str, str]:
        """Run a management command; return its exit code, stdout and stderr.

        `failpoint` is armed (`billing/failpoints.py`).
        """
        if self._commands is None:
            self._commands = Commands(self.environment)
        return self._commands.run(*arguments, failpoint=failpoint)

    def customer(self, email: str, credit: str = "10", **limits: str) -> str:
        """Make a customer with credit in dollars; return the API key (`create_key` options)."""
        made = json.loads(self.manage("create_customer", email, "--credit", credit, "--json"))
        if not limits:
            return str(made["api_key"])
        options = [
            word
            for name, value in limits.items()
            for word in (f"--{name.replace('_', '-')}", value)
        ]
        made = json.loads(self.manage("create_key", email, *options, "--json"))
        return str(made["api_key"])

    def balance(self, team: str) -> dict[str, Any]:
        """Return what `manage.py balance` says of a team or a member's email."""
        answer: dict[str, Any] = json.loads(self.manage("balance", team, "--json"))
        return answer

    def check_ledger(self) -> None:
        """Fail where an invariant of the books is broken, or the independent audit finds it."""
        self.manage("check_ledger")
        findings = audit.findings_at(self.postgres.url)
        assert not findings, findings

    def run_overdue_tasks(self) -> None:
        """End what has expired where no Celery does: a stack may be older than its requests."""
        if self.worker is None or not self.worker.running:
            tasks = ("sweep_expired_reservations", "expire_credits")
            calls = "".join(f"tasks.{name}();" for name in tasks)
            self.manage("shell", "-c", f"from billing import tasks;{calls}")

    def sql(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query (none for a statement)."""
        with psycopg.connect(self.postgres.url, autocommit=True) as connection:
            cursor = connection.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []

    def journal(self, **filters: str) -> list[dict[str, Any]]:
        """Return the simulator's account of the calls it got."""
        answer = httpx.get(f"{self.simulator_url}/journal", params=filters)
        calls: list[dict[str, Any]] = answer.json()
        return calls

    def client(self, key: str, **options: Any) -> httpx.Client:
        """Return an HTTP client for the API under /v1."""
        return httpx.Client(
            base_url=f"{self.base_url}/v1",
            headers={"authorization": f"Bearer {key}"},
            timeout=options.pop("timeout", 30),
            **options,
        )

    def configure_web(self, *, workers: int = 1, **environment: str) -> None:
        """Run web workers with these options of the stack; they start anew only if that differs."""
        running_as = (self.workers, self._environment, self._web_environment)
        if self.web is not None:
            if self.web.running and running_as == (workers, environment, {}):
                return
            self.web.stop()
        self.workers, self._environment = workers, environment
        self.start_web()

    def start_web(self, **environment: str) -> None:
        """Start the web workers and wait until they answer."""
        self._web_environment = environment
        self.web = self._start("web", WEB_COMMAND, **environment)
        self._wait_for(f"{self.base_url}/health", self.web)

    def start_second_web(self, port: int) -> Child:
        """Start further web workers on a port and wait until they answer; the caller stops them."""
        child = self._start("second-web", WEB_COMMAND, PORT=str(port))
        self._wait_for(f"http://127.0.0.1:{port}/health", child)
        return child

    def start_worker(self, **environment: str) -> None:
        """Start Celery's worker and beat."""
        if self.worker is not None and not self.worker.running:
            self.worker.clear()  # one that was killed leaves its beat behind
        schedule = str(self.folder / "celerybeat-schedule")
        command = ["celery", "-A", "config.celery", "worker", "-B", "-P", "threads"]
        command += ["--concurrency", "2", "--schedule", schedule, "--loglevel", "INFO"]
        self.worker = self._start("worker", command, **environment)

    def kill_web(self) -> None:
        """Kill every web process at once, as a crash would."""
        assert self.web is not None
        self.web.signal(signal.SIGKILL, group=True)
        self.web.wait(30)

    def web_pids(self) -> list[int]:
        """Return the worker processes' ids (not their master's)."""
        assert self.web is not None
        path = Path(f"/proc/{self.web.pid}/task/{self.web.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def log(self, name: str) -> str:
        """Return a process's log."""
        return (self.folder / f"{name}.log").read_text()

    def _start_simulator(self) -> None:
        bind = f"127.0.0.1:{self.simulator_port}"
        command = ["gunicorn", "-k", "asgi", "--workers", "1", "--bind", bind]
        command += ["simulator.app:application"]
        self.simulator = self._start("simulator", command)
        self._wait_for(f"{self.simulator_url}/healthz", self.simulator)

    def _start(self, name: str, command: list[str], **environment: str) -> Child:
        child = Child(
            name,
            command,
            log=self.folder / f"{name}.log",
            env=self.environment | environment,
            grace=30,
            cwd=ROOT,
        )
        commands = self._commands
        failpoint = environment.get("TOLLGATE_FAILPOINT", "")
        own = environment.keys() - {"TOLLGATE_FAILPOINT"}
        if commands is not None and self.environment == commands.environment and not own:
            child.process = commands.start(command, child.log, failpoint=failpoint)
        else:  # other settings, which are read once
            child.process = fresh_programs.start(command, child.env, child.log)
        return child

    def _wait_for(self, url: str, child: Child) -> None:
        def answers() -> bool:
            assert child.running, f"{child.name} ended:\n{self.log(child.name)}"
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(url, timeout=2).status_code == 200
            return False

        eventually(answers, seconds=60, what=f"{url} does not answer")


@contextlib.contextmanager
def running(folder: Path, **options: Any) -> Iterator[Stack]:
    """Yield a started stack, and prove its books when the test is over."""
    with Stack(folder, **options) as stack:
        yield stack
        stack.run_overdue_tasks()
        stack.check_ledger()


def chat(content: str = "Hello!", **fields: Any) -> dict[str, Any]:
    """Return the body of a small chat completion request."""
    return {
        "model": "glm-5.2",
        "messages": [{"role": "user", "content": content}],
        **fields,
    }
