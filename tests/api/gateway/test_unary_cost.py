"""`usage.cost` in answers in one piece, in every dialect."""

from typing import Any

import pytest
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from api.gateway.runner import split_at_cost, with_cost
from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import World, in_loop

USAGE = {"prompt_tokens": 500, "completion_tokens": 1000, "total_tokens": 1500}


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"id": 1, "usage": {"n":1}}', b'{"id": 1, "usage": {"cost":2,"n":1}}'),
        (b'{"usage":{ }, "id":1}', b'{"usage":{"cost":2}, "id":1}'),
        (b'{"text":"\\"usage\\":{"}', b'{"text":"\\"usage\\":{"}'),
        (b'{"id":1,"usage":null}', b'{"id":1,"usage":null}'),
        (
            b'{"id":1,"given":{"usage":{"n":3}},"usage":{"n":1}}',
            b'{"id":1,"given":{"usage":{"n":3}},"usage":{"cost":2,"n":1}}',
        ),
        (b'[{"usage":{"n":3}}]', b'[{"usage":{"n":3}}]'),
        (b'{"data":[{"usage":{"n":3}}]}', b'{"data":[{"usage":{"n":3}}]}'),
        (b'{"given":{"usage":{}},"usage":null}', b'{"given":{"usage":{}},"usage":null}'),
        (b'{"given":{"usage":{}},"usage" :{}}', b'{"given":{"usage":{}},"usage":{"cost":2}}'),
        (b'{"given":[{"usage":{}},{"usage":{}}]}', b'{"given":[{"usage":{}},{"usage":{}}]}'),
        (
            b'{"usage":{"cost":9,"n":1,"cost_details":{"upstream_inference_cost":9}},"id":1}',
            b'{"id":1,"usage":{"cost":2,"n":1}}',
        ),
    ],
)
def test_the_cost_is_put_first_into_the_usage(body: bytes, shown: bytes) -> None:
    assert with_cost(split_at_cost(body), "2.000000000") == shown


MESSAGES = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "upstream-model",
    "content": [{"type": "text", "text": "Hello."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 500, "output_tokens": 1000, "cost": 7},
}


@pytest.mark.parametrize(
    ("path", "sdks_type"),
    [
        ("/v1/chat/completions", ChatCompletion),
        ("/v1/responses", Response),
        ("/v1/messages", None),
    ],
)
@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages"])
@in_loop
async def test_every_dialect_tells_the_cost_and_never_the_upstreams(
    path: str, sdks_type: Any, dialect: str
) -> None:
    made = completion(usage={**USAGE, "cost": 7}) if dialect == "openai_chat" else MESSAGES
    asked: dict[str, Any] = {"model": "public-model", "max_tokens": 2000}
    if sdks_type is Response:
        asked = {"model": "public-model", "input": "Hi"}
    else:
        asked["messages"] = [{"role": "user", "content": "Hi"}]
    async with World(answer(made), upstream={"dialect": dialect}) as world:
        reply = await world.post(asked, path)
    assert (reply.status, reply.json["usage"]["cost"]) == (200, 0.00285)
    assert reply.headers["x-request-cost"] == "0.002850000"
    if sdks_type is not None:
        assert sdks_type.construct(**reply.json).usage.cost == 0.00285
