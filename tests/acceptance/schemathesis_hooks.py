"""What schemathesis (a process of its own) is told of the running service: real models and keys."""

import os
import uuid
from typing import Any

import schemathesis

MODELS = {"/images/generations": "glm-image", "/videos/generations": "cogvideox-3"}


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Call a model that exists and serve the endpoint, three times in four."""
    if isinstance(body, dict) and isinstance(body.get("model"), str) and len(body["model"]) % 4:
        return {**body, "model": MODELS.get(context.operation.path, "glm-5.2")}
    return body


@schemathesis.hook
def map_headers(context: schemathesis.HookContext, headers: Any) -> Any:
    """Make an Idempotency-Key unique, as clients do: only its first request is served.

    Also raise a maximum cost, as most of them pay for nothing.
    """
    if headers and len(headers.get("Idempotency-Key", "")) % 4:
        headers = {**headers, "Idempotency-Key": uuid.uuid4().hex}
    if headers and len(headers.get("X-Max-Cost", "")) % 4:
        headers = {**headers, "X-Max-Cost": "100"}
    return headers


@schemathesis.hook
def map_path_parameters(context: schemathesis.HookContext, path_parameters: Any) -> Any:
    """Name what exists: any other key might be the one that the calls are made with."""
    if path_parameters and "model" in path_parameters and len(path_parameters["model"]) % 2:
        return {**path_parameters, "model": "zai-org/GLM-4.7-FP8"}
    if path_parameters and "key_id" in path_parameters:
        return {**path_parameters, "key_id": int(os.environ["KEY_ID"])}
    return path_parameters
