"""Join the operations and the management API to one OpenAPI 3.1 document."""

from typing import Any, cast

import msgspec
from drf_spectacular.generators import SchemaGenerator
from msgspec import Struct

from api.openapi.notes import INTRODUCTION, TAGS
from api.openapi.parts import (
    HEADERS,
    IDEMPOTENCY_KEY,
    MAX_COST,
    REF,
    Json,
    error_refs,
    error_responses,
    header_refs,
    query_parameters,
    schemas,
    servers,
)
from api.operations import OPERATIONS
from api.operations.base import ErrorObject, Operation
from api.operations.health import VERSION
from api.surfaces import SURFACES

_MANAGE_ERRORS = (400, 401, 403, 404, 500, 503)
_MANAGE_WRITE_ERRORS = (409, 413, 415)


def document(service_name: str, contact_email: str = "") -> Json:
    """Return the OpenAPI document of a service of that name."""
    management = _management()
    info: Json = {"title": f"{service_name} API", "version": VERSION, "description": INTRODUCTION}
    if contact_email:
        info["contact"] = {"email": contact_email}
    return {
        "openapi": "3.1.0",
        "info": info,
        "servers": servers(),
        "security": [{"apiKey": []}],
        "tags": TAGS,
        "paths": {**_operation_paths(), **management["paths"]},
        "components": {
            "schemas": {**_operation_schemas(), **management["components"]["schemas"]},
            "headers": HEADERS,
            "responses": error_responses(),
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key of the scope `inference`.",
                },
                **management["components"]["securitySchemes"],
            },
        },
    }


class Error(Struct):
    """The one form of all errors."""

    error: ErrorObject


def _operation_paths() -> Json:
    """Return a path for each operation, relative to the mounts."""
    paths: Json = {}
    for operation in OPERATIONS.values():
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return paths


def _operation(row: Operation) -> Json:
    described: Json = {
        "operationId": row.operation_id,
        "tags": [row.tag],
        "summary": row.summary,
        "description": row.description,
        "responses": {str(row.success): _success(row), **error_refs(row.errors)},
    }
    if row.takes_max_cost:
        described["parameters"] = [*([IDEMPOTENCY_KEY] if row.is_paid else ()), MAX_COST]
    if row.argument:
        name = row.path.partition("{")[2].partition("}")[0]
        described["parameters"] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": row.argument,
                "schema": {"type": "string", "minLength": 1},
            }
        ]
    if row.query is not None:
        described["parameters"] = [
            *described.get("parameters", ()),
            *query_parameters(row.query),
        ]
    if not row.at_root:
        described["servers"] = servers(each for each in SURFACES if row.is_served_at(each))
    if row.body is not None:
        examples = {title: {"value": value} for title, value in row.examples.items()}
        described["requestBody"] = {
            "required": True,
            "content": {row.body_type: {"schema": _ref(row.body.__name__), "examples": examples}},
        }
    if row.is_public or not row.takes_key:
        described["security"] = []
    described["x-playground"] = {
        "modelKind": row.model_kind,
        "modelInput": row.model_input,
        **msgspec.to_builtins(row.playground),
    }
    return described


def _success(row: Operation) -> Json:
    content: Json = {}
    if row.answer is not None:
        content["application/json"] = {
            "schema": _ref(row.answer.__name__),
            "examples": {"Answer": {"value": row.answer_example}},
        }
    for media_type in row.answer_types:
        # Bytes have no schema in OpenAPI 3.1.
        is_text = media_type.startswith("text/") or media_type == "application/jose"
        content[media_type] = {"schema": {"type": "string"}} if is_text else {}
    if row.stream is not None:
        # As tools read OpenAPI 3.1, the schema of a stream is that of one of its events.
        content["text/event-stream"] = {
            "schema": {
                "type": "object",
                "description": "One event. Where the stream fails, the last one's is an `Error`.",
                "properties": {
                    "data": {
                        "anyOf": [
                            {"const": "[DONE]"},
                            {
                                "type": "string",
                                "contentMediaType": "application/json",
                                "contentSchema": _ref(row.stream.__name__),
                            },
                        ]
                    }
                },
                "required": ["data"],
            },
            "examples": {"Stream": {"value": row.stream_example}},
        }
    return {
        "description": "Done.",
        "headers": header_refs((*row.headers, *(("Idempotent-Replayed",) if row.is_paid else ()))),
        "content": content,
    }


def _operation_schemas() -> Json:
    """Return the schemas of all requests and answers, their fields described."""
    kinds: list[type[Struct]] = [Error]
    for row in OPERATIONS.values():
        kinds += [kind for kind in (row.body, row.answer, row.stream) if kind is not None]
    found = schemas(dict.fromkeys(kinds))
    for row in OPERATIONS.values():
        if row.body is not None:
            properties = found[row.body.__name__]["properties"]
            for field, note in row.notes.items():
                properties[field].setdefault("description", note)
    return found


def _management() -> Json:
    """Return what drf-spectacular says of the management API, with the errors it can't know."""
    # Untyped in drf-spectacular.
    made = cast(Any, SchemaGenerator)().get_schema(request=None, public=True)
    for item in made["paths"].values():
        for operation in item.values():
            writes = _MANAGE_WRITE_ERRORS if "requestBody" in operation else ()
            for success in operation["responses"].values():
                success["description"] = "Done."
                success["headers"] = header_refs(("X-Request-Id",))
            operation["responses"] |= error_refs(sorted((*_MANAGE_ERRORS, *writes)))
            operation["summary"] = operation.pop("description").rstrip(".")
        # The mounts above are the operations'.
        item["servers"] = [{"url": "/"}]
    return cast(Json, made)


def _ref(name: str) -> Json:
    return {"$ref": REF.format("schemas", name)}
