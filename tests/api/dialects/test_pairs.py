"""Each downstream dialect by each upstream dialect by each feature, whole and streamed."""

from typing import Any

import pytest

from tests.api.dialects.clients import CLIENTS, Client, Heard
from tests.api.dialects.pairs import UPSTREAM_PATHS, Exchange, exchange

TEXT = "sun fox map oak tea ink "
REFUSAL = TEXT + "bay elm jar kit log net owl pen rye sea "
REASONING = "key lid mud nut "

pytestmark = [
    pytest.mark.parametrize("upstream", UPSTREAM_PATHS),
    pytest.mark.parametrize("downstream", CLIENTS),
]
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])


def heard(client: Client, result: Exchange, stream: bool) -> Heard:
    """Return what the client reads, which names the model by its public name."""
    read = (client.read_stream if stream else client.read)(result.body)
    assert read.model == "public-model"
    assert b"upstream-model" not in result.body
    return read


@both_ways
def test_text_and_its_usage(downstream: str, upstream: str, stream: bool) -> None:
    client = CLIENTS[downstream]
    body = client.ask("Hello there", system="Be brief.", stream=stream)
    result = exchange(downstream, upstream, body, "tokens=6&cached=3&prompt_tokens=9")
    read = heard(client, result, stream)
    assert read.text == TEXT
    assert read.ended == "stop"
    assert (read.input_tokens, read.cached_tokens, read.output_tokens) == (9, 3, 6)
    assert result.usage is not None
    assert (result.usage.input_tokens, result.usage.cached_tokens) == (9, 3)
    assert result.usage.output_tokens == 6


def test_a_stream_may_be_cut_anywhere(downstream: str, upstream: str) -> None:
    client = CLIENTS[downstream]
    body = client.ask("Hello", tools=["look"], effort="low", stream=True)
    whole = exchange(downstream, upstream, body, "tokens=6&reasoning=4&tool=1&calls=2")
    pieces = exchange(downstream, upstream, body, "tokens=6&reasoning=4&tool=1&calls=2", piece=7)
    assert heard(client, whole, True).calls == heard(client, pieces, True).calls
    assert heard(client, whole, True).reasoning == heard(client, pieces, True).reasoning


@both_ways
def test_reasoning_and_what_it_counts(downstream: str, upstream: str, stream: bool) -> None:
    client = CLIENTS[downstream]
    body = client.ask("Hello", effort="low", stream=stream)
    result = exchange(downstream, upstream, body, "tokens=6&reasoning=4")
    read = heard(client, result, stream)
    assert read.reasoning == REASONING
    assert read.text == TEXT
    assert read.output_tokens == 10
    assert result.usage is not None
    assert result.usage.reasoning_tokens == 4


@both_ways
@pytest.mark.parametrize("count", [1, 3])
def test_calls_of_tools_and_their_results(
    downstream: str, upstream: str, stream: bool, count: int
) -> None:
    client = CLIENTS[downstream]
    body = client.ask("Look there", tools=["look", "touch"], effort="low", stream=stream)
    script = f"tokens=6&reasoning=4&calls={count}"
    read = heard(client, exchange(downstream, upstream, body, script), stream)
    assert read.ended == "calls"
    assert [name for name, _ in read.calls] == ["look", "touch", "look"][:count]
    assert all(isinstance(arguments["city"], str) for _, arguments in read.calls)
    assert len(set(read.call_ids)) == count
    # The simulator refuses unpaired calls and results, and signatures that were altered.
    again = client.go_on(body, read, [f"result {number}" for number in range(count)])
    result = exchange(downstream, upstream, again, "tokens=6&tool=0")
    assert heard(client, result, stream).text == TEXT
    assert str(result.sent).count("result ") == count


def test_a_tool_that_must_be_called(downstream: str, upstream: str) -> None:
    client = CLIENTS[downstream]
    body = client.ask("Go", tools=["look", "touch"], choice="touch")
    read = heard(client, exchange(downstream, upstream, body), False)
    assert [name for name, _ in read.calls] == ["touch"]
    body = client.ask("Go", tools=["look", "touch"], choice="none")
    assert heard(client, exchange(downstream, upstream, body), False).calls == []


@both_ways
def test_a_picture(downstream: str, upstream: str, stream: bool) -> None:
    client = CLIENTS[downstream]
    result = exchange(
        downstream, upstream, client.ask("What is it?", image=True, stream=stream), "tokens=6"
    )
    assert heard(client, result, stream).text == TEXT
    assert "iVBORw0KGgo" in str(result.sent)


@both_ways
def test_json_by_a_schema(downstream: str, upstream: str, stream: bool) -> None:
    client = CLIENTS[downstream]
    result = exchange(downstream, upstream, client.ask("Where?", schema=True, stream=stream))
    read = heard(client, result, stream)
    assert read.text.startswith('{"city":')
    assert read.ended == "stop"


@both_ways
def test_the_end_by_length(downstream: str, upstream: str, stream: bool) -> None:
    client = CLIENTS[downstream]
    body = client.ask("Go on", stream=stream)
    result = exchange(downstream, upstream, body, "tokens=100", max_tokens=5)
    read = heard(client, result, stream)
    assert read.ended == "length"
    assert read.output_tokens == 5


@both_ways
def test_a_refusal(downstream: str, upstream: str, stream: bool) -> None:
    client = CLIENTS[downstream]
    body = client.ask("Do harm", stream=stream)
    read = heard(client, exchange(downstream, upstream, body, "content=refusal"), stream)
    # Messages say only at their end that the text before was a refusal: OpenAI's clients have it by
    # then, and get the reason.
    is_text = upstream == "anthropic_messages" != downstream
    assert (read.refusal, read.text) == (("", REFUSAL) if is_text else (REFUSAL, ""))
    is_ended_so = "anthropic_messages" in (downstream, upstream)
    assert read.ended == ("refused" if is_ended_so else "stop")
    assert read.calls == []


def test_the_limit_that_was_paid_for_is_sent(downstream: str, upstream: str) -> None:
    result = exchange(downstream, upstream, CLIENTS[downstream].ask("Hi"), max_tokens=77)
    names = ("max_tokens", "max_completion_tokens", "max_output_tokens")
    assert [result.sent[name] for name in names if name in result.sent] == [77]


def test_what_the_upstream_would_bill_by_another_price_is_not_sent(
    downstream: str, upstream: str
) -> None:
    body: dict[str, Any] = {**CLIENTS[downstream].ask("Hi"), "service_tier": "priority"}
    assert "service_tier" not in exchange(downstream, upstream, body).sent
