"""What looks like a secret is in no log and no stored value, wherever in an event it is."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from accounts.masking import mask_secrets
from config.logging import configure_logging
from tests.api.gateway.upstream import answer, raw, reset
from tests.api.gateway.world import KEY as CUSTOMERS_KEY
from tests.api.gateway.world import World, in_loop

TAIL = "0123456789abcdefghijklmnopqrstuvwxyz"
KEY = f"sk-proj-{TAIL}"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged as JSON."""
    out = io.StringIO()
    root = logging.getLogger()
    before = root.handlers, root.level, structlog.get_config()
    monkeypatch.setattr(sys, "stderr", out)
    configure_logging(level="INFO", as_json=True)
    # A module's logger must not keep this configuration for the tests that follow.
    structlog.configure(**{**structlog.get_config(), "cache_logger_on_first_use": False})
    yield out
    root.handlers, root.level = before[:2]
    structlog.configure(**before[2])


@pytest.mark.parametrize(
    "value",
    [
        KEY,
        KEY.encode(),
        [KEY],
        (KEY, 1),
        {"header": {"name": KEY}},
        {KEY: 1},
        ValueError(f"no such key: {KEY}"),
        [{"errors": (ValueError(KEY),)}],
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_secret_is_masked_however_deep_it_is(written: io.StringIO, value: Any) -> None:
    structlog.get_logger("test").warning("tried", value=value, count=3)
    line = written.getvalue()
    event = json.loads(line)
    assert TAIL not in line
    assert "sk-proj-…" in json.dumps(event["value"], ensure_ascii=False)
    assert event["count"] == 3


@pytest.mark.parametrize(
    "prefix", ["AIza", "gsk_", "xai-", "hf_", "ghp_", "github_pat_", "xoxb-", "AKIA", "sk-ant-"]
)
def test_other_services_keys_are_cut_to_their_prefix(prefix: str) -> None:
    assert mask_secrets(f"key={prefix}{TAIL}, sent") == f"key={prefix}…, sent"


def test_a_signed_token_is_masked_and_plain_words_are_not() -> None:
    assert mask_secrets(f"t=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx{TAIL}.{TAIL};") == "t=eyJ…;"
    for text in ("user-42", "xai-team", "hf_dataset", "alice@example.com", "AKIA"):
        assert mask_secrets(text) == text


PROMPT = "my secret diagnosis is malaria"


@pytest.mark.parametrize(
    "script",
    [
        answer({"error": {"message": f"I can't say: {PROMPT}"}}, 500),
        answer({"error": {"message": f"No such key for: {PROMPT}"}}, 401),
        answer(f"<html>{PROMPT}</html>".encode(), 502),
        answer(PROMPT.encode()),
        raw(PROMPT.encode() + b"\r\n\r\n"),
        reset(),
    ],
    ids=["500", "401", "html", "no JSON", "no HTTP", "reset"],
)
@in_loop
async def test_no_prompt_and_no_key_is_logged(written: io.StringIO, script: Any) -> None:
    """Whatever fails at an upstream that repeats what it was asked."""
    async with World(script) as world:
        reply = await world.chat(PROMPT)
    structlog.get_logger("test").info("done")
    assert reply.status >= 400
    lines = written.getvalue()
    assert "malaria" not in lines
    assert CUSTOMERS_KEY.rpartition("-")[2] not in lines
    assert all(json.loads(line)["event"] for line in lines.splitlines())
