"""A request through a pair of dialects to the simulator and back, without a server."""

import json
from dataclasses import dataclass
from typing import Any

from api.catalogue.snapshot import ModelEntry, RouteEntry, UpstreamEntry
from api.dialects import DIALECTS, link
from api.dialects.assembly import as_streamed
from api.dialects.base import AnswerContext
from billing.pricing.charge import NO_CHARGE, Usage
from tests.api.dialects.limits import Limits
from tests.simulator.conftest import Simulator, SimulatorAnswer

Json = dict[str, Any]

UPSTREAM_PATHS = {
    "openai_chat": "/v1/chat/completions",
    "anthropic_messages": "/v1/messages",
    "openai_responses": "/v1/responses",
}


@dataclass
class Exchange:
    """One request through a pair: what was sent upstream, and what came back to the client."""

    sent: Json
    answer: SimulatorAnswer
    usage: Usage | None
    body: bytes


def model_entry(upstream: str, **fields: Any) -> tuple[ModelEntry, RouteEntry]:
    """Return a model with reasoning, at an upstream of the dialect."""
    route = RouteEntry(
        id=1,
        upstream=UpstreamEntry(
            id=1,
            name="there",
            base_url="http://127.0.0.1:1/v1",
            api_key_env="",
            max_concurrency=1,
            connect_timeout_seconds=1,
            first_token_timeout_seconds=1,
            idle_timeout_seconds=1,
            total_timeout_seconds=1,
            drains_on_disconnect=False,
            dialect=upstream,
        ),
        upstream_model="upstream-model",
        priority=0,
        weight=1,
        reasoning_dialect="reasoning_content",
    )
    model = ModelEntry(
        **{
            "id": 1,
            "name": "public-model",
            "title": "",
            "description": "",
            "owner": "",
            "kind": "chat",
            "is_coding": False,
            "created": 1,
            "context_tokens": 100_000,
            "max_output_tokens": 32_000,
            "default_max_tokens": None,
            "default_temperature": None,
            "default_top_p": None,
            "max_messages": None,
            "bytes_per_token": 4,
            "tokens_per_image": 1_000,
            "input_modalities": ("text", "image"),
            "output_modalities": ("text",),
            "supported_features": ("reasoning", "tools"),
            "sampling_parameters": (),
            "refused_parameters": (),
            "quantization": "",
            "datacenters": (),
            "image_sizes": (),
            "requests_per_minute": None,
            "aliases": (),
            "routes": (route,),
            "prices": (),
            **fields,
        }
    )
    return model, route


def exchange(
    downstream: str,
    upstream: str,
    body: Json,
    script: str = "",
    *,
    max_tokens: int = 8_000,
    piece: int = 0,
    by_stream: bool = False,
    **model_fields: Any,
) -> Exchange:
    """Send a client's body through a pair to the simulator, in pieces of so many bytes back.

    `by_stream` asks for a stream where the client wants a plain answer.
    """
    client = DIALECTS[downstream]
    request = client.parse(body, len(json.dumps(body)))
    dialect = link(client, upstream)
    assert dialect is not None
    model, route = model_entry(upstream, **model_fields)
    asked = as_streamed(request) if by_stream else request
    sent = dialect.upstream_body(asked, model, route, max_tokens)
    headers = dict(dialect.upstream_headers("secret"))
    answer = Simulator().call("POST", UPSTREAM_PATHS[upstream], sent, script, headers=headers)
    assert answer.status == 200, answer.body
    context = AnswerContext(request, "public-model", "reasoning_content", answer_id="a1")
    pieces = answer.pieces
    if piece:
        pieces = [answer.body[at : at + piece] for at in range(0, len(answer.body), piece)]
    if not request.is_streamed:
        whole_body = answer.body
        if by_stream:
            assert len(pieces) > 1
            assembler = dialect.assembler(context)
            assert assembler is not None
            for each in pieces:
                assembler.feed(each)
            whole_body = assembler.finish()
        whole = dialect.read_answer(whole_body, context)
        usage = whole.meter(Limits()).usage
        shown = whole.body(usage or Usage())
        return Exchange(json.loads(sent), answer, usage, shown)
    reader = dialect.stream_reader(context)
    out = b""
    for each in pieces:
        out += reader.feed(each)
        if reader.error is not None:
            raise reader.error
    out += reader.finish()
    usage = reader.meter(Limits()).usage
    out += reader.ending(usage or Usage(), NO_CHARGE, is_shown=True)
    return Exchange(json.loads(sent), answer, usage, out)
