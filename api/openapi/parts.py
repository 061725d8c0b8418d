"""The parts of the OpenAPI document that operations refer to: schemas, headers, errors, mounts."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from api import errors
from api.error_responses import error_object

# Their errors belong to the tree, too.
from api.gateway import idempotency, max_cost, upstream_errors  # noqa: F401
from api.surfaces import SURFACES, Surface

Json = dict[str, Any]
REF = "#/components/{}/{}"

HEADERS: Json = {
    "X-Request-Id": {
        "description": "The request's id; include it when you contact support.",
        "schema": {"type": "string"},
    },
    "X-Request-Cost": {
        "description": (
            "The request's cost in dollars, like the answer's `usage.cost`. Not sent with streams."
        ),
        "schema": {"type": "string", "examples": ["0.002850000"]},
    },
    "X-RateLimit-Limit": {
        "description": "The key's limit of requests per minute.",
        "schema": {"type": "integer"},
    },
    "X-RateLimit-Remaining": {
        "description": "The key's remaining requests in this minute.",
        "schema": {"type": "integer"},
    },
    "X-RateLimit-Reset": {
        "description": "When the minute ends, in Unix seconds.",
        "schema": {"type": "integer"},
    },
    "Idempotent-Replayed": {
        "description": "`true` where the answer is an earlier one's, by its Idempotency-Key. "
        "The other headers are that one's; nothing is charged again.",
        "schema": {"type": "string", "const": "true"},
    },
    "Location": {
        "description": "Its URL.",
        "schema": {"type": "string", "format": "uri"},
    },
    "Retry-After": {
        "description": "Seconds to wait before retrying.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "The authentication scheme.",
        "schema": {"type": "string", "const": "Bearer"},
    },
}
IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": (
        "A unique value, such as a UUID. A repeat of the same request with it gets the first "
        "answer, and is not charged again."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
MAX_COST: Json = {
    "name": "X-Max-Cost",
    "in": "header",
    "required": False,
    "description": (
        "The most that the request may cost, in dollars. Output is limited to what it pays for. "
        "Clients that can't set headers send it as `max_cost` in the body."
    ),
    "schema": {
        "type": "string",
        "pattern": "^[0-9]{1,7}([.][0-9]{1,9})?$",
        "examples": ["0.05"],
    },
}
_ERROR_HEADERS = {
    401: ("WWW-Authenticate",),
    **dict.fromkeys((409, 429, 503), ("Retry-After",)),
}
_MEANINGS = {
    400: "The request is invalid; `param` says where.",
    401: "The API key is missing, malformed, revoked or expired.",
    402: "The credits or the key's budget do not cover the request.",
    403: "The key does not have permission for this, or for this model or endpoint.",
    404: "There is no such path, model or object.",
    405: "The path does not support this method.",
    409: "The object's state does not allow the change, or a request with the same "
    "Idempotency-Key is in progress: repeat it after `Retry-After`.",
    410: "A request with the same Idempotency-Key was charged, but its answer wasn't kept.",
    413: "The body is too large.",
    415: "The body's media type is not supported.",
    422: "The Idempotency-Key was used for another request.",
    429: "Too many requests or tokens in this minute, or the model is busy: back off.",
    500: "An internal error. Nothing was charged.",
    502: "The model's provider failed. Nothing was charged; try again.",
    503: "The service or the model is temporarily unavailable: try again later.",
    504: "The model's provider took too long. Nothing was charged; try again.",
}

# Placeholders in the templates of messages; elsewhere it is a parameter and a model.
_NAMES = {
    "unknown_url": ("GET", "/v1/unknown"),
    "model_not_found": ("gpt-0",),
    "model_not_allowed": ("glm-5.2",),
}


def schemas(structs: Iterable[type[msgspec.Struct]]) -> Json:
    """Return the components' schemas of structs and of all that they refer to, by name."""
    _, found = msgspec.json.schema_components(structs, ref_template=REF.format("schemas", "{name}"))
    return {name: _tidy(schema) for name, schema in sorted(found.items())}


def query_parameters(struct: type[msgspec.Struct]) -> list[Json]:
    """Return a struct's fields as query parameters, whose descriptions are the fields'."""
    schema = msgspec.json.schema(struct)["$defs"][struct.__name__]
    required = schema.get("required", ())
    found = []
    for name, field in schema["properties"].items():
        shown = _tidy(field)
        description = shown.pop("description", "")
        parameter = {"name": name, "in": "query", "description": description, "schema": shown}
        found.append({**parameter, "required": True} if name in required else parameter)
    return found


def error_responses() -> Json:
    """Return the components' responses: one for each status of the tree of errors."""
    by_status: dict[int, list[errors.ApiError]] = {}
    for error in map(_example_of, dict.fromkeys(_tree(errors.ApiError))):
        by_status.setdefault(error.status, []).append(error)
    return {
        f"Error{status}": {
            "description": _MEANINGS[status],
            "headers": header_refs(("X-Request-Id", *_ERROR_HEADERS.get(status, ()))),
            "content": {
                "application/json": {
                    "schema": {"$ref": REF.format("schemas", "Error")},
                    "examples": {
                        type(error).__name__.removesuffix("Error"): {"value": error_object(error)}
                        for error in found
                    },
                }
            },
        }
        for status, found in sorted(by_status.items())
    }


def error_refs(statuses: Iterable[int]) -> Json:
    """Return an operation's error responses."""
    return {str(status): {"$ref": REF.format("responses", f"Error{status}")} for status in statuses}


def header_refs(names: Iterable[str]) -> Json:
    """Return a response's headers."""
    return {name: {"$ref": REF.format("headers", name)} for name in names}


def servers(surfaces: Iterable[Surface] = SURFACES) -> list[Json]:
    """Return the mounts as OpenAPI's servers, `/v1` before the others."""
    ordered = sorted(surfaces, key=lambda surface: surface.mount != "/v1")
    return [{"url": one.mount or "/", "description": _description(one)} for one in ordered]


def _description(surface: Surface) -> str:
    """Return what a mount changes, from its row."""
    said = [
        "Reasoning not shown"
        if surface.reasoning_field is None
        else f"Reasoning in `{surface.reasoning_field}`",
        f"rejected keys get `{surface.auth_error_type}`",
    ]
    if surface.models == "coding":
        said.append("coding models only")
    return "; ".join(said) + "."


def _tree(kind: type[errors.ApiError]) -> Iterator[type[errors.ApiError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def _example_of(kind: type[errors.ApiError]) -> errors.ApiError:
    """Return an error with its text, or with its template filled."""
    if not kind.template:
        return kind()
    names = _NAMES.get(kind.code, ("tools", "deepseek-r1"))
    return kind.about(*names, param=None if kind.code in _NAMES else names[0])


def _tidy(node: Any) -> Any:
    """Return a schema of msgspec's in OpenAPI's customs.

    Its titles repeat the names; a default of null says nothing; `\\Z` is Python's for `$`.
    """
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidied: Json = {}
    for name, value in node.items():
        if (name == "default" and value is None) or (name == "title" and isinstance(value, str)):
            continue
        is_pattern = name == "pattern" and isinstance(value, str)
        tidied[name] = value.replace("\\Z", "$") if is_pattern else _tidy(value)
    return _without_anyof(tidied)


def _without_anyof(schema: Json) -> Json:
    """Return `{"type": [x, "null"]}` for the alternative of a plain type and null."""
    match schema.get("anyOf"):
        case [{"type": str()} as plain, {"type": "null"}] if "enum" not in plain:
            others = {name: value for name, value in schema.items() if name != "anyOf"}
            return {**plain, "type": [plain["type"], "null"], **others}
    return schema
