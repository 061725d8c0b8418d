"""The seam: an endpoint is a module and a line, and so is a dialect.

Both are toys of this file: an endpoint that counts the words of a question, and the wire format in
which it is asked and answered. They are put into the public tables, as their lines would.
"""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from django.test import Client

from api import dialects, errors, operations, router
from api.catalogue.snapshot import ModelEntry, RouteEntry
from api.dialects.base import (
    AnswerContext,
    DialectError,
    ParsedRequest,
    StreamFailure,
)
from api.dialects.error_bodies import ErrorReport
from api.dialects.prompt import PromptSize
from api.dialects.usage import Metered, MeteringLimits, meter, meter_part
from api.error_responses import RenderedError
from api.gateway.quote import quote_text
from api.openapi.document import document
from api.operations.base import DocsPage, metered
from api.surfaces import SURFACES, Surface
from billing.pricing.charge import Charge, Usage
from tests.api.gateway.upstream import answer, head, raw
from tests.api.gateway.world import World, in_loop

TOY_UPSTREAM = {"dialect": "toy"}


# What a new dialect's module has.
class ToyAnswer:
    """`{"reply": text, "spent": [input, output]}`."""

    finish_reason = "told"

    def __init__(self, body: bytes, context: AnswerContext) -> None:
        try:
            self._told = msgspec.json.decode(body, type=dict[str, Any])
            self.text_bytes = len(self._told["reply"].encode())
        except (msgspec.MsgspecError, KeyError):
            raise DialectError("bad_answer", "no reply") from None

    def meter(self, limits: MeteringLimits) -> Metered:
        spent = self._told.get("spent") or [None, None]
        usage = {"prompt_tokens": spent[0], "completion_tokens": spent[1]}
        return meter(usage, self.text_bytes, limits)

    def body(self, usage: Usage) -> bytes:
        return json.dumps({"reply": self._told["reply"], "used": usage.output_tokens}).encode()


class ToyReader:
    """Lines `say <text>`, at the end `spent <input> <output>`."""

    sent_events = 0

    def __init__(self, context: AnswerContext) -> None:
        self.events = self.text_bytes = 0
        self.finish_reason = ""
        self.is_done = False
        self.error: DialectError | None = None
        self._usage: object = None

    def feed(self, data: bytes) -> bytes:
        for line in data.splitlines():
            self.events += 1
            if line.startswith(b"spent "):
                _, tokens_in, tokens_out = line.split()
                self._usage = {
                    "prompt_tokens": int(tokens_in),
                    "completion_tokens": int(tokens_out),
                }
                self.is_done = True
                return b""
            self.text_bytes += len(line) - 4
        return data

    def finish(self) -> bytes:
        if not self.is_done:
            raise DialectError("incomplete", "no end")
        return b""

    def meter(self, limits: MeteringLimits) -> Metered:
        return meter(self._usage, self.text_bytes, limits)

    def meter_part(self, limits: MeteringLimits) -> Metered:
        return meter_part(self._usage, 0, self.text_bytes, limits)

    def ending(self, usage: Usage, cost: Charge, *, is_shown: bool) -> bytes:
        return b"that is all\n"


class ToyDialect:
    """A question and a reply."""

    name = family = "toy"
    keepalive = b"wait\n"
    request_id_header = b""
    forwards_headers = False
    translation = None
    path = "/questions"
    read_answer = staticmethod(ToyAnswer)
    stream_reader = staticmethod(ToyReader)

    def parse(self, fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
        if not isinstance(fields.get("question"), str):
            raise errors.MissingParameterError.about("question", param="question")
        return ParsedRequest(
            model=fields["of"],
            fields=fields,
            size_bytes=size_bytes,
            used=set(fields),
            prompt=PromptSize(text_bytes=len(fields["question"])),
            is_streamed=bool(fields.get("live")),
        )

    def forwarded_headers(self, headers: Mapping[bytes, bytes]) -> dict[str, str]:
        return {}

    def render_error(
        self, error: errors.ApiError, surface: Surface, request_id: str
    ) -> RenderedError:
        body = json.dumps({"alas": error.code}).encode()
        return RenderedError(error.status, error.headers, body)

    def error_event(self, failure: StreamFailure) -> bytes:
        return f"alas {failure.error.code}\n".encode()

    def upstream_headers(self, api_key: str) -> dict[str, str]:
        return {"x-toy-key": api_key or "none"}

    def upstream_body(
        self, request: ParsedRequest, model: ModelEntry, route: RouteEntry, max_tokens: int
    ) -> bytes:
        question = request.fields["question"]
        body = {"ask": question, "of": route.upstream_model, "most": max_tokens}
        return json.dumps(body).encode()

    def read_error(self, body: bytes) -> ErrorReport:
        return ErrorReport(json.loads(body)["alas"])


# What a new operation's module has.
class Question(msgspec.Struct):
    """A question."""

    of: str
    question: str


class Reply(msgspec.Struct):
    """Its reply."""

    reply: str
    used: int


QUESTIONS = metered(
    name="questions",
    dialect=ToyDialect(),
    quote=quote_text,
    path="/questions",
    operation_id="create_question",
    tag="Chat",
    summary="Ask a question",
    description="Answers a question that nobody asked before.",
    body=Question,
    notes={"of": "Whom to ask.", "question": "What to ask."},
    examples={"Minimal": {"of": "glm-5.2", "question": "Why?"}},
    answer=Reply,
    answer_example={"reply": "Because.", "used": 2},
    model_kind="chat",
    page=DocsPage(slug="questions", title="Questions", summary="Ask anything.", charge="Words."),
)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the two lines, and make the table of paths as the process's start would."""
    monkeypatch.setitem(dialects.DIALECTS, "toy", ToyDialect())
    monkeypatch.setitem(operations.OPERATIONS, "questions", QUESTIONS)
    table = router.Table(operations.OPERATIONS.values(), SURFACES)
    monkeypatch.setattr(router, "match", table.match)
    monkeypatch.setattr("tests.api.gateway.world.match", table.match)


def ask(**fields: Any) -> dict[str, Any]:
    return {"of": "public-model", "question": "Why?", **fields}


@pytest.mark.parametrize("mount", [surface.mount for surface in SURFACES])
@in_loop
async def test_it_is_served_priced_and_settled_under_every_mount(mount: str) -> None:
    made = answer({"reply": "Because.", "spent": [500, 1000]})
    async with World(made, upstream=TOY_UPSTREAM) as world:
        reply = await world.post(ask(), f"{mount}/questions")
        sent = world.upstream.calls[0]
    assert (reply.status, reply.json) == (200, {"reply": "Because.", "used": 1000})
    assert reply.headers["x-request-cost"] == "0.002850000"
    assert sent == {"ask": "Why?", "of": "upstream-model", "most": 8192}
    assert world.upstream.heads[0].startswith("POST /v1/questions ")
    assert "x-toy-key: none" in world.upstream.heads[0].lower()
    settled = world.gate.only
    assert (settled.endpoint, settled.outcome, settled.source) == (
        "questions",
        "completed",
        "upstream",
    )
    assert (settled.input_nanos, settled.output_nanos) == (350_000, 2_500_000)
    assert settled.finish_reason == "told"


@in_loop
async def test_its_stream_is_its_own_and_settled_before_its_end() -> None:
    script = raw(head(content_type="text/event-stream"), b"say Be\nsay cause\nspent 500 1000\n")
    async with World(script, upstream=TOY_UPSTREAM) as world:
        reply = await world.post(ask(live=True), "/v1/questions")
    assert reply.body.endswith(b"that is all\n")
    settled = world.gate.only
    assert (settled.input_tokens, settled.output_tokens, settled.streamed) == (500, 1000, True)


@pytest.mark.parametrize(
    ("fields", "status", "body"),
    [
        ({"question": 5}, 400, {"alas": "missing_required_parameter"}),
        ({"of": "nobody"}, 404, {"alas": "model_not_found"}),
    ],
)
@in_loop
async def test_its_errors_are_said_in_its_dialect(
    fields: dict[str, Any], status: int, body: dict[str, str]
) -> None:
    async with World(upstream=TOY_UPSTREAM) as world:
        reply = await world.post(ask(**fields), "/v1/questions")
    assert (reply.status, reply.json) == (status, body)


@in_loop
async def test_its_upstreams_errors_are_read_in_its_dialect() -> None:
    async with World(answer({"alas": "no"}, 400), upstream=TOY_UPSTREAM) as world:
        reply = await world.post(ask(), "/v1/questions")
    assert (reply.status, reply.json) == (400, {"alas": "invalid_request_error"})
    assert world.gate.only.error == "HTTP 400: no"


@in_loop
async def test_an_upstream_of_another_dialect_is_not_asked_and_costs_nothing() -> None:
    async with World(answer({})) as world:
        reply = await world.post(ask(), "/v1/questions")
        assert world.upstream.calls == []
    assert (reply.status, reply.json) == (502, {"alas": "upstream_error"})
    assert world.gate.only.source == "none"


@pytest.mark.django_db
def test_it_is_in_the_openapi_document_and_the_playgrounds_data() -> None:
    described = document("Tollgate")["paths"]["/questions"]["post"]
    assert described["operationId"] == "create_question"
    assert described["x-playground"]["modelKind"] == "chat"


@pytest.mark.django_db
def test_it_has_a_page_in_the_documentation(client: Client) -> None:
    page = client.get("/docs/questions").content.decode()
    for text in ("Answers a question that nobody asked before.", "Whom to ask.", "Because."):
        assert text in page
    assert 'href="/docs/questions"' in client.get("/docs").content.decode()
