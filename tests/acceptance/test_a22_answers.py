"""Points 22 and 24: the forms of answers, plain and streamed, as the documents' samples show."""

import json
import re
import time
from typing import Any

import httpx
import pytest

from tests.acceptance.services import HELLO

MOUNTS = ("", "/v1", "/api/v1", "/api/paas/v4", "/api/coding/paas/v4", "/ide/v1")


def chat(http: httpx.Client, mount: str = "/v1", **fields: Any) -> httpx.Response:
    """Return the answer of a small chat."""
    body = {"model": "glm-4.7", "messages": HELLO, **fields}
    answer = http.post(f"{mount}/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer


def events(answer: httpx.Response) -> list[str]:
    """Return the data of a stream's events."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    blocks = answer.text.removesuffix("\n\n").split("\n\n")
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    return [block.removeprefix("data: ") for block in blocks]


@pytest.mark.parametrize("mount", MOUNTS)
def test_a22_a_plain_answer_has_the_documents_form(http: httpx.Client, mount: str) -> None:
    answer = chat(http, mount).json()
    assert re.fullmatch(r"chatcmpl-.+", answer["id"])
    assert answer["object"] == "chat.completion"
    assert abs(answer["created"] - time.time()) < 60
    assert answer["model"] == "glm-4.7"
    (choice,) = answer["choices"]
    assert choice["index"] == 0
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    usage = answer["usage"]
    # The model reasons for 8 tokens before the 16 of its answer.
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (2, 24)
    assert usage["total_tokens"] == 26


def test_a22_cached_tokens_stand_in_the_usages_details(http: httpx.Client) -> None:
    fields = {"messages": [{"role": "user", "content": "word" * 1500}]}
    answer = chat(http, "/api/v1", simulate="tokens=200&cached=1200", **fields).json()
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 1200
    assert answer["usage"]["total_tokens"] == 1700


def test_a22_an_alias_is_answered_by_the_name_it_was_asked_by(http: httpx.Client) -> None:
    for stream in (False, True):
        answer = chat(http, model="gemini-2.5-flash", stream=stream)
        named = re.findall(r'"model": ?"([^"]+)"', answer.text)
        assert set(named) == {"gemini-2.5-flash"}


@pytest.mark.parametrize("mount", MOUNTS)
def test_a24_a_stream_has_the_documents_chunks_and_ends_with_done(http, mount: str) -> None:
    data = events(chat(http, mount, stream=True, simulate="tokens=5"))
    assert data[-1] == "[DONE]"
    chunks = [json.loads(item) for item in data[:-1]]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["id"].startswith("chatcmpl-")
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk"
        assert chunk["model"] == "glm-4.7"
        assert abs(chunk["created"] - time.time()) < 60
        (choice,) = chunk["choices"]
        assert choice["index"] == 0
        assert choice["logprobs"] is None
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * (
        len(chunks) - 1
    )
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"][0]["delta"] == {}
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert len(text) == 20


def test_a24_a_stream_cut_short_says_so_instead_of_done(http: httpx.Client) -> None:
    data = events(chat(http, stream=True, simulate="tokens=20&cut_after=5"))
    assert data[-1] != "[DONE]"
    error = json.loads(data[-1])["error"]
    assert error["code"] == "upstream_error"
    assert list(error) == ["message", "type", "code", "param", "usage"]
    assert error["usage"]["cost"] == 0
