"""Scripted faults: errors, broken bodies, answers that break off, and clients that leave."""

import asyncio
import json
import time
import zlib

import pytest

from simulator.app import application


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503, 504])
def test_a_scripted_error_has_openais_shape(sim, status):
    answer = sim.stream(f"status={status}&message=no+luck")

    assert answer.status == status
    assert answer.error["message"] == "no luck"
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert sim.entry()["end"] == "error"
    assert sim.entry()["tokens_sent"] == 0


def test_an_error_may_say_when_to_come_back(sim):
    assert sim.chat("status=429&retry_after=7").headers["retry-after"] == "7"


def test_a_redirect_leads_where_the_journal_would_show_it(sim):
    answer = sim.chat("status=307")
    sim.get(answer.headers["location"])

    assert answer.status == 307
    assert sim.entry()["path"] == "/v1/redirected"


def test_the_first_calls_fail_and_later_ones_succeed(sim):
    script = "fail_first=2&status=503&key=a"

    assert [sim.chat(script).status for _ in range(4)] == [503, 503, 200, 200]
    assert sim.chat("fail_first=2&status=503&key=b").status == 503
    assert sim.chat("fail_first=1").status == 500


def test_a_key_may_be_required(sim):
    body = {"model": "sim", "messages": [{"role": "user", "content": "x"}]}
    bearer = {"authorization": "Bearer abc"}

    assert sim.post("/chat/completions", body, "require_key=1").status == 401
    assert sim.post("/chat/completions", body, "require_key=1", headers=bearer).status == 200


def test_an_error_waits_for_its_time(sim):
    started_at = time.monotonic()
    sim.chat("status=504&first_ms=150")

    assert time.monotonic() - started_at >= 0.15


@pytest.mark.parametrize("kind", ["garbage", "html", "invalid_json", "invalid_utf8"])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_broken_body_is_a_200_nobody_can_read(sim, kind, streamed):
    answer = sim.chat(f"body={kind}", stream=streamed)

    assert answer.status == 200
    assert answer.complete
    with pytest.raises(ValueError):  # UnicodeDecodeError and JSONDecodeError are ones
        answer.events if streamed and b"data:" in answer.body else answer.json  # noqa: B018
    assert sim.entry()["end"] == "bad_body"


def test_an_empty_body_is_empty(sim):
    answer = sim.stream("body=empty")

    assert (answer.status, answer.body, answer.complete) == (200, b"", True)


def test_a_huge_line_has_the_size_that_was_asked_for(sim):
    text = sim.stream("body=huge_line&bytes=200000").text()
    whole = sim.chat("body=huge_line&bytes=200000").json

    assert len(text) == len(whole["choices"][0]["message"]["content"]) == 200_000


def test_a_gzip_bomb_is_small_until_it_is_unpacked(sim):
    answer = sim.chat("body=gzip_bomb&bytes=3000000")
    body = zlib.decompress(answer.body, 16 + zlib.MAX_WBITS)

    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.body) < 10_000
    assert len(json.loads(body)["choices"][0]["message"]["content"]) == 3_000_000


@pytest.mark.parametrize("after", [0, 1, 7, 16])
@pytest.mark.parametrize(
    ("kind", "end", "complete"),
    [
        ("cut", "cut", False),
        ("reset", "reset", False),
        ("end", "ended", True),
        ("error", "error", True),
    ],
)
def test_a_stream_breaks_off_after_exactly_n_tokens(sim, kind, end, complete, after):
    answer = sim.stream(f"{kind}_after={after}&chunk_tokens=3&chunks_per_write=2")

    assert len(answer.text()) == after * 4
    assert answer.complete is complete
    assert answer.events[-1] != "[DONE]"
    assert all(choice["finish_reason"] is None for choice in answer.chunks[-1].get("choices", []))
    assert (sim.entry()["end"], sim.entry()["tokens_sent"]) == (end, after)


def test_an_answer_shorter_than_the_break_runs_to_its_end(sim):
    assert sim.stream("tokens=5&cut_after=6").events[-1] == "[DONE]"
    assert sim.entry()["end"] == "completed"


def test_reasoning_counts_towards_the_break(sim):
    answer = sim.stream("reasoning=4&cut_after=5&dialect=think")

    assert answer.text() == "<think>key lid mud nut </think>sun "
    assert sim.entry()["tokens_sent"] == 5


def test_an_error_in_the_stream_is_an_event(sim):
    last = sim.stream("error_after=2").events[-1]

    assert last["error"]["type"] == "server_error"


@pytest.mark.parametrize(("kind", "complete"), [("cut", False), ("end", True)])
def test_a_plain_answer_breaks_off_in_its_middle(sim, kind, complete):
    whole = sim.chat().body
    answer = sim.chat(f"{kind}_after=8")

    assert 0 < len(answer.body) < len(whole)
    assert answer.complete is complete
    assert answer.headers.get("content-length", "none") == ("none" if complete else str(len(whole)))
    with pytest.raises(ValueError):
        answer.json  # noqa: B018


def test_a_plain_answer_may_be_a_200_with_an_error(sim):
    answer = sim.chat("error_after=0&message=oops")

    assert (answer.status, answer.error["message"]) == (200, "oops")


def test_a_dropped_connection_says_nothing(sim):
    answer = sim.chat("drop=1")

    assert (answer.body, answer.complete) == (b"", False)
    assert sim.entry()["end"] == "dropped"


@pytest.mark.parametrize("how", ["message", "cancel"])
@pytest.mark.parametrize(
    "script",
    [
        "pace_ms=20&tokens=1000",
        "first_ms=60000",
        "stall_after=3",
        "stall_after=3&comments=1",
        "tokens=1000000&chunk_tokens=100",
        "body=huge_line&bytes=2000000000",
        "status=500&first_ms=60000",
    ],
)
def test_a_client_that_leaves_ends_the_call_at_once(sim, how, script):
    body = {"model": "sim", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    answer = sim.post("/chat/completions", body, script, leave=how)
    entry = sim.entry()

    assert entry["end"] == "client_closed"
    assert entry["closed_at"] - entry["started_at"] < 2  # of the twenty and more to its end
    if "body" not in script:
        assert entry["tokens_sent"] == len(answer.text()) // 4
    assert sim.get("/healthz").json["open_calls"] == 0


def test_a_plain_call_that_is_left_has_sent_nothing(sim):
    body = {"model": "sim", "messages": [{"role": "user", "content": "x"}]}
    sim.post("/chat/completions", body, "pace_ms=1000", leave="message")

    assert (sim.entry()["tokens_sent"], sim.entry()["end"]) == (0, "client_closed")


def test_a_client_that_leaves_while_uploading_is_no_call(sim):
    unfinished = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive():
        return unfinished.pop() if unfinished else {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/completions", "headers": []}
    asyncio.run(application(scope, receive, send))
    assert sim.get("/journal").json == []


def test_a_fault_of_the_simulator_is_a_500(sim, monkeypatch):
    monkeypatch.setattr("simulator.chat.plan", None)

    assert sim.chat().status == 500
    assert sim.entry()["end"] == "crashed"
