"""5: chat completions under every mount."""

import pytest

from tests.acceptance.talk import MOUNTS, deltas, talk_to
from tests.stack import Stack

# Coding: served by every mount.
MODEL = "glm-4.7"


@pytest.mark.parametrize("mount", MOUNTS)
def test_a05_chat_completions_answer_under_every_mount(stack: Stack, mount: str) -> None:
    talk = talk_to(stack)
    answer = talk.chat(mount, "tokens=10", model=MODEL)
    told = answer.json()
    assert (told["object"], told["model"]) == ("chat.completion", MODEL)
    assert len(told["choices"][0]["message"]["content"]) == 40
    # glm-4.7: two input tokens at $0.30 and ten output tokens at $1.30 per million.
    assert talk.charged(answer) == 2 * 300 + 10 * 1_300
    tokens = {"prompt_tokens": 2, "completion_tokens": 10, "total_tokens": 12}
    assert told["usage"] == {**tokens, "cost": 0.0000136}


@pytest.mark.parametrize("mount", MOUNTS)
def test_a05_chat_completions_stream_under_every_mount(stack: Stack, mount: str) -> None:
    chunks = talk_to(stack).chunks(mount, "tokens=10", model=MODEL)
    assert len("".join(deltas(chunks, "content"))) == 40
    assert {(chunk["object"], chunk["model"]) for chunk in chunks} == {
        ("chat.completion.chunk", MODEL)
    }
