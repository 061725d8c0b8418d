"""23: reasoning in the surface's field, from upstreams of any dialect; it is billed."""

import pytest

from tests.acceptance.talk import deltas, route_of, talk_to
from tests.stack import Stack

FIELDS = {
    "": "reasoning",
    "/v1": "reasoning",
    "/api/v1": "reasoning_content",
    "/api/paas/v4": "reasoning_content",
    "/api/coding/paas/v4": "reasoning_content",
}
DIALECTS = ("reasoning", "reasoning_content", "think")
# A coding model, so that all mounts serve it.
MODEL = "glm-4.7-flashx"
PROMPT_NANOS, TOKEN_NANOS = 2 * 70, 400  # $0.07 and $0.40 per million


@pytest.fixture(scope="module", autouse=True)
def _tagged_routes(stack: Stack):
    with route_of(stack, MODEL, reasoning_dialect="think"):
        yield


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("mount", FIELDS)
def test_a23_reasoning_is_in_the_surfaces_field(stack: Stack, mount: str, dialect: str) -> None:
    talk = talk_to(stack)
    script = f"reasoning=8&tokens=5&dialect={dialect}"
    message = talk.message(mount, script, model=MODEL)
    field = FIELDS[mount]
    assert message.keys() == {"role", "content", field}
    assert (len(message[field]), len(message["content"])) == (32, 20)

    chunks = talk.chunks(mount, script, model=MODEL)
    assert "".join(deltas(chunks, field)) == message[field]
    assert "".join(deltas(chunks, "content")) == message["content"]
    others = {"reasoning", "reasoning_content"} - {field}
    assert not any(deltas(chunks, other) for other in others)
    assert chunks[-1]["choices"][0]["delta"] == {}


@pytest.mark.parametrize("split", [1, 2, 3, 5, 7, 11])
def test_a23_tags_are_found_wherever_they_are_split(stack: Stack, split: int) -> None:
    script = f"reasoning=8&tokens=5&dialect=think&split={split}&chunk_tokens={split}"
    chunks = talk_to(stack).chunks(simulate=script, model=MODEL)
    assert len("".join(deltas(chunks, "reasoning"))) == 32
    content = "".join(deltas(chunks, "content"))
    assert len(content) == 20
    assert "think" not in content


def test_a23_tags_stay_text_where_the_route_says_nothing_of_them(stack: Stack) -> None:
    message = talk_to(stack).message(simulate="reasoning=8&tokens=5&dialect=think")
    assert message["content"].startswith("<think>")
    assert "reasoning" not in message


@pytest.mark.parametrize("stream", [False, True])
def test_a23_reasoning_tokens_are_billed_and_told(stack: Stack, stream: bool) -> None:
    talk = talk_to(stack)
    options = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    answer = talk.chat("/api/v1", "reasoning=8&tokens=5", model=MODEL, **options)
    assert talk.charged(answer) == PROMPT_NANOS + 13 * TOKEN_NANOS
    columns = talk.usage(answer.headers["x-request-id"], "output_tokens", "reasoning_tokens")
    assert columns == (13, 8)
    assert '"reasoning_tokens":8' in answer.text


def test_a23_models_that_give_none_have_no_field(stack: Stack) -> None:
    assert talk_to(stack).message(model="qwen3.6-27b").keys() == {"role", "content"}
