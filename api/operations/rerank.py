"""`POST …/rerank`: documents ordered by how well they answer a query.

The request is Cohere's (both versions) and Jina's alike, and the answer has what clients of either
read: `meta` with Cohere's billed units, `usage` with Jina's tokens.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from api import errors
from api.catalogue.snapshot import Snapshot
from api.dialects.base import (
    AnswerContext,
    Dialect,
    DialectError,
    OpenAiFamily,
    ParsedRequest,
    named,
)
from api.dialects.counted import meter_counted
from api.dialects.fields import names_of
from api.dialects.prompt import PromptSize
from api.dialects.usage import Metered, MeteringLimits
from api.gateway.http import new_request_id
from api.gateway.quote import (
    Quote,
    check_priced,
    check_served,
    find_sold,
    quote_counted,
    tokens_of,
)
from api.operations.base import (
    MODEL_NOTE,
    USER_NOTE,
    DocsPage,
    Playground,
    Tokens,
    check_not_streamed,
    metered,
)
from api.phrases import Phrase
from api.surfaces import Surface
from api.validation_errors import explained
from billing.pricing.charge import Usage

MAX_DOCUMENTS = 10_000
# Cohere's search unit: a query with up to 100 documents. A document that is longer than 500 tokens
# together with the query counts as several (docs.cohere.com, "How does Cohere's pricing work").
DOCUMENTS_PER_UNIT = 100
TOKENS_PER_CHUNK = 500
# What a model's template puts around a query and a document: begin, separators, end.
TOKENS_PER_PAIR = 4

_encode = msgspec.json.Encoder().encode


class RerankRequest(Struct, kw_only=True, gc=False):
    """The parameters of a request for a ranking, as far as we must know them."""

    model: Annotated[str, Meta(min_length=1, max_length=200)]
    query: Annotated[str, Meta(min_length=1)]
    documents: Annotated[list[str | dict[str, Any]], Meta(min_length=1, max_length=MAX_DOCUMENTS)]
    top_n: Annotated[int, Meta(ge=1)] | None = None
    return_documents: bool | None = None
    rank_fields: list[str] | None = None
    max_tokens_per_doc: Annotated[int, Meta(ge=1)] | None = None
    max_chunks_per_doc: Annotated[int, Meta(ge=1)] | None = None
    user: str | None = None


def parse_rerank(fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
    """Return a request for a ranking. Raise a 400 error of `api.errors`."""
    try:
        request = msgspec.convert(fields, RerankRequest)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    check_not_streamed(fields)
    for index, document in enumerate(request.documents):
        if not isinstance(document, str) and not _bytes_of(document):
            raise errors.InvalidValueError(
                Phrase(
                    "Invalid 'documents[{index}]': expected a string, or an object with a 'text'.",
                    index=index,
                ),
                param=f"documents[{index}]",
            )
    count, query_bytes = len(request.documents), len(request.query.encode())
    return ParsedRequest(
        model=request.model,
        fields=fields,
        size_bytes=size_bytes,
        used=named(fields),
        # The query is read beside each document.
        prompt=PromptSize(
            text_bytes=query_bytes * count + sum(map(_bytes_of, request.documents)),
            prompts=count,
        ),
        choices=0,
        end_user=request.user or "",
        typed=request,
    )


def _bytes_of(document: str | dict[str, Any]) -> int:
    """Return how many bytes of text a document has, in UTF-8. An object's names are read, too."""
    if isinstance(document, str):
        return len(document.encode())
    return len(_encode(document)) if any(map(_is_text, document.values())) else 0


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def search_units(query_size: float, document_sizes: Sequence[float]) -> int:
    """Return the search units of a query with documents of so many tokens.

    With sizes in bytes it is an upper bound, as no tokenizer makes more tokens than bytes.
    """
    chunks = sum(
        max(1, math.ceil((query_size + size) / TOKENS_PER_CHUNK)) for size in document_sizes
    )
    return math.ceil(chunks / DOCUMENTS_PER_UNIT)


class _Result(Struct, gc=False):
    index: Annotated[int, Meta(ge=0)]
    relevance_score: float | None = None
    score: float | None = None
    document: Any = None


class _Reported(Struct, gc=False):
    """Cohere and Jina answer `results`, Voyage `data`."""

    results: list[_Result] = []
    data: list[_Result] = []
    id: Any = None
    meta: Any = None
    usage: Any = None


_decode = msgspec.json.Decoder(_Reported, strict=False).decode


class RerankAnswer:
    """The ranking, best first. Raise DialectError if it isn't one of the request's documents."""

    text_bytes = 0
    finish_reason = ""

    def __init__(self, body: bytes, context: AnswerContext) -> None:
        self._name = context.public_name
        self._request: RerankRequest = context.request.typed
        try:
            self._reported = reported = _decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise DialectError("bad_answer", "the answer is no ranking") from None
        results = reported.results or reported.data
        count = len(self._request.documents)
        indexes = {result.index for result in results}
        if not results or len(indexes) != len(results) or max(indexes) >= count:
            raise DialectError(
                "bad_answer", f"{len(results)} results that are not of the {count} documents"
            )
        if any(_score(result) is None for result in results):
            raise DialectError("bad_answer", "a result has no score")
        ranked = sorted(results, key=lambda result: _score(result) or 0, reverse=True)
        self._results = ranked[: self._request.top_n]

    def meter(self, limits: MeteringLimits) -> Metered:
        """Return the search units and tokens that the upstream reported, if they can be true."""
        meta, usage = _object(self._reported.meta), _object(self._reported.usage)
        billed, tokens = _object(meta.get("billed_units")), _object(meta.get("tokens"))
        counts = (
            usage.get("prompt_tokens"),
            usage.get("total_tokens"),
            usage.get("input_tokens"),
            tokens.get("input_tokens"),
            billed.get("input_tokens"),
        )
        found = {
            "search_unit": _whole(billed.get("search_units")),
            "input": next((count for count in map(_whole, counts) if count), None),
        }
        return meter_counted(found, limits)

    def body(self, usage: Usage) -> bytes:
        """Return the superset of Cohere's and Jina's answers, with the usage that is charged."""
        tokens, units = usage.input_tokens, usage.units.get("search_unit")
        given = self._reported.id
        meta: dict[str, Any] = {"api_version": {"version": "2"}}
        if units:
            meta["billed_units"] = {"search_units": units}
        if tokens:
            meta["tokens"] = {"input_tokens": tokens}
        return _encode(
            {
                "id": given if isinstance(given, str) and given else f"rerank-{new_request_id()}",
                "model": self._name,
                "results": [self._shown(result) for result in self._results],
                "meta": meta,
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }
        )

    def _shown(self, result: _Result) -> dict[str, Any]:
        """Return a result with its document, where the client asked for it or the upstream did."""
        shown: dict[str, Any] = {"index": result.index, "relevance_score": _score(result)}
        wanted = self._request.return_documents
        document = result.document
        if document is None and wanted:
            document = self._request.documents[result.index]
        if document is not None and wanted is not False:
            shown["document"] = {"text": document} if isinstance(document, str) else document
        return shown


def _score(result: _Result) -> float | None:
    """Return a result's score, which some upstreams call `score`."""
    return result.relevance_score if result.relevance_score is not None else result.score


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _whole(count: object) -> object:
    """Return a whole number as such: Cohere's SDKs have billed units as floats."""
    return int(count) if isinstance(count, float) and count.is_integer() else count


class RerankDialect(OpenAiFamily):
    """Cohere's and Jina's reranking."""

    known_fields = names_of(RerankRequest)
    name = "rerank"
    path = "/rerank"
    parse = staticmethod(parse_rerank)
    read_answer = staticmethod(RerankAnswer)


def quote_rerank(
    operation: str, dialect: Dialect, snapshot: Snapshot, surface: Surface, request: ParsedRequest
) -> Quote:
    """Return the quote of a request for a ranking. Raise an error of `api.errors`."""
    sold = model, prices = find_sold(snapshot, request.model)
    check_served(model, surface, request, "rerank", Phrase("rankings"))
    check_priced(prices, "search_unit", "input", "request")
    asked: RerankRequest = request.typed
    query, documents = len(asked.query.encode()), [_bytes_of(each) for each in asked.documents]
    per_token, text_bytes = model.bytes_per_token, request.prompt.text_bytes
    likely_units = search_units(query / per_token, [size / per_token for size in documents])
    most_units = search_units(query, documents)
    return quote_counted(
        operation,
        dialect,
        snapshot,
        request,
        sold=sold,
        most=Usage(
            input_tokens=text_bytes + TOKENS_PER_PAIR * len(documents),
            units={"search_unit": most_units},
        ),
        likely=Usage(
            input_tokens=tokens_of(text_bytes, model),
            units={"search_unit": min(likely_units, most_units)},
        ),
    )


class RankedDocument(Struct):
    """One of the documents, by its place in the request."""

    index: Annotated[int, Meta(ge=0, description="The document's index in the request.")]
    relevance_score: Annotated[float, Meta(description="Higher is more relevant.")]
    document: Annotated[dict[str, Any], Meta(description="The document.")] | UnsetType = UNSET


class RerankMeta(Struct):
    """What was billed, as Cohere's API says it."""

    api_version: dict[str, str]
    billed_units: dict[str, int] | UnsetType = UNSET
    tokens: dict[str, int] | UnsetType = UNSET


class RerankUsage(Struct):
    """The tokens that were read, as Jina's API says it."""

    prompt_tokens: Tokens
    total_tokens: Tokens


class Ranking(Struct):
    """The documents, the most relevant first."""

    id: str
    model: Annotated[str, Meta(description="The model's name, as in the request.")]
    results: Annotated[list[RankedDocument], Meta(min_length=1)]
    meta: RerankMeta
    usage: RerankUsage


_QUERY = "What is the capital of France?"

RERANK = metered(
    name="rerank",
    dialect=RerankDialect(),
    quote=quote_rerank,
    path="/rerank",
    also_at=("/v2/rerank",),
    operation_id="create_ranking",
    tag="Reranking",
    summary="Rank documents",
    description=(
        "Orders documents by how relevant they are to a query, for search and retrieval. Requests "
        "and answers fit clients of Cohere's API (also at `/v2/rerank`) and of Jina's."
    ),
    body=RerankRequest,
    notes={
        "model": MODEL_NOTE,
        "query": "The query to rank the documents by.",
        "documents": "Up to 10,000 strings, or objects with a `text`.",
        "top_n": "How many results to return. Default: all.",
        "return_documents": "Whether to include each document's text in the results.",
        "rank_fields": "For documents that are objects, the fields to use.",
        "max_tokens_per_doc": "Truncate documents to this many tokens, if the model supports it.",
        "max_chunks_per_doc": "Maximum number of chunks to split a long document into.",
        "user": USER_NOTE,
    },
    examples={
        "Minimal": {
            "model": "rerank-v3.5",
            "query": _QUERY,
            "documents": ["Paris is the capital of France.", "Berlin is in Germany."],
        },
        "The best one": {
            "model": "rerank-v3.5",
            "query": _QUERY,
            "documents": ["Paris is the capital of France.", "Berlin is in Germany."],
            "top_n": 1,
            "return_documents": True,
        },
    },
    answer=Ranking,
    answer_example={
        "id": "rerank-01a1fe52cceb7802829b84e9b03862db",
        "model": "rerank-v3.5",
        "results": [
            {"index": 0, "relevance_score": 0.98},
            {"index": 1, "relevance_score": 0.04},
        ],
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": 28},
        },
        "usage": {"prompt_tokens": 28, "total_tokens": 28},
    },
    model_kind="rerank",
    page=DocsPage(
        slug="rerank",
        title="Reranking",
        summary="Order documents by relevance to a query.",
        charge=(
            "Per search unit or per input token, depending on the model. A search unit is a query "
            "with up to 100 documents; a document that has more than 500 tokens together with the "
            "query counts as several. Failed requests are free."
        ),
    ),
    playground=Playground(
        common=("model", "query", "documents", "top_n"),
        prints="answer",
    ),
)
