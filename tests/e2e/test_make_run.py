"""`make run` on an empty folder, as a newcomer has it, and the `openai` package against it."""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai as sdk
import pytest
from openai import OpenAI

from tests.commands import Commands
from tests.stack import free_port
from tests.support.forks import ROOT
from tests.support.waiting import eventually

HELLO = [{"role": "user", "content": "Hello!"}]
SECRETS = ("SECRET_KEY", "API_KEY_PEPPERS", "ENCRYPTION_KEYS")
NAMED_SERVERS = ("DATABASE_URL", "REDIS_URL", "BASE_URL", *SECRETS)


class Running:
    """What a newcomer has of a running service: what it wrote down, and `manage.py`."""

    def __init__(self, folder: Path) -> None:
        self.environment = {k: v for k, v in os.environ.items() if k not in NAMED_SERVERS}
        self.environment |= {"LOCAL_DIR": str(folder), "PORT": str(free_port())}
        self.demo_file = folder / "demo.json"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local", "run"],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait(self) -> str:
        """Read what it prints until the curl line, and return that."""
        said = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said.append(line)
            if line.rstrip().endswith("}'"):
                return "".join(said)
        pytest.fail("".join(said))

    @property
    def demo(self) -> dict[str, Any]:
        """What it wrote for scripts."""
        return dict(json.loads(self.demo_file.read_text()))

    def manage(self, *arguments: str) -> Any:
        """Run a management command, which finds the database by itself."""
        code, said, complained = self.commands.run(*arguments, "--json")
        assert code == 0, said + complained
        return json.loads(said)

    @functools.cached_property
    def commands(self) -> Commands:
        """Runs management commands with nothing but a newcomer's environment."""
        return Commands(self.environment)

    def client(self, key: str = "") -> OpenAI:
        """Return OpenAI's client with another base URL and key."""
        base_url = f"{self.demo['base_url']}/v1"
        return OpenAI(base_url=base_url, api_key=key or self.demo["api_key"], max_retries=0)

    def posted_nanos(self) -> int:
        """What the demo customer has."""
        balance = self.manage("balance", self.demo["customer"]["email"])
        return int(balance["posted_nanos"])

    def stop(self) -> int:
        """Stop it by Ctrl-C and return the exit code."""
        self.commands.close()
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(40)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    started = Running(tmp_path_factory.mktemp("newcomer"))
    try:
        started.said = started.wait()
        yield started
        assert started.stop() == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.process.kill()


def test_what_it_prints_works(service: Running) -> None:
    demo = service.demo
    shown = [demo["base_url"], demo["api_key"], *demo["customer"].values(), *demo["staff"].values()]
    assert all(text in service.said for text in shown)
    curl = service.said[service.said.index("curl ") :].strip()
    answer = subprocess.run(["bash", "-c", f"{curl} -s"], capture_output=True, check=True)
    assert json.loads(answer.stdout)["choices"][0]["message"]["content"]
    assert httpx.get(demo["base_url"]).status_code == 200


def test_a_completion_costs_the_price_to_the_nano_dollar(service: Running) -> None:
    before = service.posted_nanos()
    answer = service.client().chat.completions.create(
        model="glm-5.2",
        messages=[{"role": "user", "content": "word" * 500}],
        max_tokens=1000,
        extra_body={"simulate": "tokens=1000"},
    )
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (500, 1000)
    assert before - service.posted_nanos() == 2_850_000


def test_models_streams_and_tools(service: Running) -> None:
    client = service.client()
    assert "glm-5.2" in [model.id for model in client.models.list()]
    chunks = list(client.chat.completions.create(model="glm-5.2", messages=HELLO, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    tool = {"type": "function", "function": {"name": "now", "parameters": {"type": "object"}}}
    called = client.chat.completions.create(model="glm-5.2", messages=HELLO, tools=[tool])
    assert called.choices[0].message.tool_calls[0].function.name == "now"


def test_a_stream_that_is_closed_stops_and_is_billed(service: Running) -> None:
    before = service.posted_nanos()
    stream = service.client().chat.completions.create(
        model="glm-5.2",
        messages=HELLO,
        stream=True,
        extra_body={"simulate": "tokens=1000&pace_ms=20"},
    )
    for count, _chunk in enumerate(stream):
        if count == 10:
            break
    request_id = stream.response.headers["x-request-id"]
    stream.close()
    closed_at = time.time()

    def call() -> Any:
        address = f"{service.demo['simulator_url']}/journal"
        return httpx.get(address, params={"request_id": request_id}).json()[0]

    assert eventually(lambda: call()["closed_at"]) - closed_at < 2  # of twenty seconds
    assert call()["tokens_sent"] < 100
    eventually(lambda: service.posted_nanos() < before)


def test_every_refusal_is_the_sdks_own_error(service: Running) -> None:
    with pytest.raises(sdk.AuthenticationError):
        service.client("sk-tg-" + "x" * 38).models.list()
    with pytest.raises(sdk.NotFoundError):
        service.client().chat.completions.create(model="gpt-0", messages=HELLO)
    poor = service.manage("create_customer", "poor@example.com", "--credit", "0.000001")
    with pytest.raises(sdk.APIStatusError) as refused:
        service.client(poor["api_key"]).chat.completions.create(model="glm-5.2", messages=HELLO)
    assert refused.value.status_code == 402
    customer = service.demo["customer"]["email"]
    limited = service.manage("create_key", customer, "--requests-per-minute", "1")
    client = service.client(limited["api_key"])
    client.chat.completions.create(model="glm-5.2", messages=HELLO)
    with pytest.raises(sdk.RateLimitError):
        client.chat.completions.create(model="glm-5.2", messages=HELLO)
