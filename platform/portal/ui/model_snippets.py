"""A first request to a model, whatever its kind, ready to be copied."""

from typing import Any

from api.catalogue.snapshot import ModelEntry
from api.operations import OPERATIONS
from api.operations.base import Operation
from portal.ui.snippets import (
    Snippet,
    chat_in_go,
    chat_snippets,
    image_snippets,
    post_by_curl,
    post_by_sdk,
    video_snippets,
)


def model_snippets(model: ModelEntry, *, base_url: str, api_key: str) -> list[Snippet]:
    """Return a request to the model in each language; none where no operation has an example."""
    given = {"base_url": base_url, "model": model.name, "api_key": api_key}
    if model.kind == "chat":
        return [*chat_snippets(**given), chat_in_go(**given)]
    if model.kind == "image":
        return image_snippets(**given)
    if model.kind == "video":
        return video_snippets(**given)
    for operation in OPERATIONS.values():
        example = next(iter(operation.examples.values()), None)
        if operation.model_kind == model.kind and isinstance(example, dict):
            body = {**example, "model": model.name}
            return operation_snippets(operation, body, base_url=base_url, api_key=api_key)
    return []


def operation_snippets(
    operation: Operation, body: dict[str, Any], *, base_url: str, api_key: str
) -> list[Snippet]:
    """Return a request of an operation in curl and with OpenAI's SDK for Python."""
    path, files = operation.path, operation.files
    call, prints = operation.playground.call, operation.playground.prints
    saves = operation.playground.saves
    return [
        post_by_curl(base_url, path, api_key, body, files=files, saves=saves),
        post_by_sdk(base_url, path, api_key, body, call=call, prints=prints, files=files),
    ]
