"""26: closing the connection stops the upstream, and only what was generated so far is billed.

"So far" is what the client was sent, and on /ide also the reasoning that was held back from it.
"""

import json
import socket
import time
from statistics import median
from typing import Any

import pytest

from tests.acceptance.talk import HELLO, Json, Talk, talk_to
from tests.stack import Stack
from tests.support.waiting import eventually

WITHIN_SECONDS = 0.1
# glm-5.2: "Hello!" is two tokens, in a message six, at $0.70; output is $2.50 per million.
PROMPT_TOKENS = {"/v1/completions": 2, "/v1/chat/completions": 6}
PROMPT_NANOS, TOKEN_NANOS = 6 * 700, 2_500
COLUMNS = ("outcome", "source", "status", "input_tokens", "output_tokens", "charged_nanos")


def hang_up(talk: Talk, path: str, simulate: str, *, after: float, **fields: Any) -> Json:
    """Ask, and close the connection so many seconds after the upstream began to answer.

    Return the upstream's journal of the call, with `seconds`: how long it went on without us.
    """
    mark = f"hang-up-{time.monotonic_ns()}"
    body = {"model": "glm-5.2", "messages": HELLO, "simulate": f"{simulate}&key={mark}", **fields}
    if "completions" in path and "chat" not in path:
        body["prompt"] = "Hello!"
        del body["messages"]
    data = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {talk.key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )

    def calls() -> list[Json]:
        return [call for call in talk.stack.journal(limit="20") if mark in str(call["script"])]

    with socket.create_connection(("127.0.0.1", talk.stack.port)) as connection:
        connection.sendall(head.encode() + data)
        eventually(calls, every=0.01)
        time.sleep(after)
    closed_at = time.time()
    call: Json = eventually(lambda: [call for call in calls() if call["closed_at"]], every=0.02)[0]
    return {**call, "seconds": call["closed_at"] - closed_at}


def assert_stopped_in_time(talk: Talk, path: str, simulate: str, **fields: Any) -> Json:
    """Hang up three times; the middle one counts, as other tests share the machine."""
    calls = [hang_up(talk, path, simulate, after=0.3, **fields) for _ in range(3)]
    assert {call["end"] for call in calls} == {"client_closed"}
    assert median(call["seconds"] for call in calls) < WITHIN_SECONDS
    return calls[0]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a26_closing_a_stream_bills_prompt_and_what_was_delivered(stack: Stack, path: str) -> None:
    talk = talk_to(stack)
    call = assert_stopped_in_time(talk, path, "tokens=1000&pace_ms=20", stream=True)
    outcome, source, status, prompt, output, charged = talk.usage(call["request_id"], *COLUMNS)
    expected = PROMPT_TOKENS[path]
    assert (outcome, source, status, prompt) == ("client_closed", "estimated", 499, expected)
    assert 5 <= output <= call["tokens_sent"]
    assert charged == expected * 700 + output * TOKEN_NANOS


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a26_closing_a_plain_call_bills_the_prompt(stack: Stack, path: str) -> None:
    talk = talk_to(stack)
    call = assert_stopped_in_time(talk, path, "tokens=1000&pace_ms=20")
    row = talk.usage(call["request_id"], *COLUMNS)
    expected = PROMPT_TOKENS[path]
    assert row == ("client_closed", "estimated", 499, expected, 0, expected * 700)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("comments", ["", "&comments=1"])
def test_a26_closing_before_the_first_token_bills_the_prompt(
    stack: Stack, stream: bool, comments: str
) -> None:
    talk = talk_to(stack)
    script = f"first_ms=8000{comments}"
    call = assert_stopped_in_time(talk, "/v1/chat/completions", script, stream=stream)
    row = talk.usage(call["request_id"], *COLUMNS)
    assert row == ("client_closed", "estimated", 499, 6, 0, PROMPT_NANOS)
    assert call["tokens_sent"] == 0


def test_a26_delivered_reasoning_is_billed(stack: Stack) -> None:
    talk = talk_to(stack)
    script = "reasoning=1000&pace_ms=20&dialect=reasoning"
    for path in ("/v1/chat/completions", "/api/v1/chat/completions", "/ide/v1/chat/completions"):
        call = hang_up(talk, path, script, after=0.4, stream=True)
        output, charged = talk.usage(call["request_id"], "output_tokens", "charged_nanos")
        assert 5 <= output <= call["tokens_sent"], path
        assert charged == PROMPT_NANOS + output * TOKEN_NANOS


def test_a26_nothing_stays_held(stack: Stack) -> None:
    email = "leaver@example.com"
    talk = Talk(stack, stack.customer(email))
    for fields in ({}, {"stream": True}):
        call = hang_up(talk, "/v1/chat/completions", "tokens=900&pace_ms=20", after=0.2, **fields)
        talk.usage(call["request_id"], "charged_nanos")
    charged = stack.sql(
        "SELECT sum(charged_nanos) FROM billing_usagerecord u JOIN accounts_apikey k"
        " ON k.id = u.key_id JOIN accounts_membership m ON m.team_id = k.team_id"
        " JOIN accounts_user p ON p.id = m.user_id WHERE p.email = %s",
        email,
    )[0][0]
    balance = stack.balance(email)
    assert balance["held_nanos"] == 0
    assert balance["posted_nanos"] == 10_000_000_000 - charged
