"""`POST /rerank`: the superset of Cohere's and Jina's answers, best documents first."""

from typing import Annotated, Any

import msgspec

from simulator import delivery, faults, text
from simulator.exchange import HttpExchange
from simulator.scripted_request import Flag, read_scripted_request

# Cohere's search unit: a query with up to 100 documents.
DOCUMENTS_PER_UNIT = 100

Document = str | dict[str, Any]


class RerankRequest(msgspec.Struct):
    """The fields of a rerank request that change the answer."""

    model: str
    query: str
    documents: Annotated[list[Document], msgspec.Meta(min_length=1)]
    top_n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    return_documents: Flag = None


async def create(exchange: HttpExchange) -> None:
    """Answer with the documents' order: by the words they share with the query."""
    scripted = read_scripted_request(exchange, RerankRequest)
    request, script = scripted.fields, scripted.script
    size = sum(map(text.text_bytes, (request.query, *map(_text, request.documents))))
    counted = text.token_count(size)
    tokens = counted if script.prompt_tokens is None else script.prompt_tokens
    scripted.note(tokens, documents=len(request.documents), prompt_bytes=size)
    if await faults.instead(exchange, script):
        return
    results = [
        {"index": index, "relevance_score": _score(request.query, _text(document))}
        | ({"document": {"text": _text(document)}} if request.return_documents else {})
        for index, document in enumerate(request.documents)
    ]
    results.sort(key=lambda result: -float(str(result["relevance_score"])))
    units = -(-len(request.documents) // DOCUMENTS_PER_UNIT)
    body: dict[str, Any] = {
        "id": exchange.id.replace("req_", "rerank-", 1),
        "model": request.model,
        "results": results[: request.top_n],
    }
    if not script.usage.missing:
        body["meta"] = {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": units},
            "tokens": {"input_tokens": tokens},
        }
        body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    exchange.entry.units_sent = units
    await delivery.plain(exchange, body, script, tokens=0)


def _text(document: Document) -> str:
    """Return a document's text; an object's texts one after the other."""
    if isinstance(document, str):
        return document
    return " ".join(value for value in document.values() if isinstance(value, str))


def _score(query: str, document: str) -> float:
    """Return the share of the query's words that are in the document."""
    wanted = set(query.lower().split())
    return round(len(wanted & set(document.lower().split())) / max(len(wanted), 1), 4)
