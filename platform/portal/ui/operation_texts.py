"""The texts by which operations describe themselves, for pages to translate where they show them.

The code has them in English, and so has `/openapi.json`.
"""

from api.openapi.parts import schemas, servers
from api.operations import OPERATIONS
from api.operations.base import Operation


def operation_texts() -> set[str]:
    """Return all of them in English: of operations, their fields, their pages and the servers."""
    texts = {str(server["description"]) for server in servers()}
    for operation in OPERATIONS.values():
        texts |= {operation.tag, operation.summary, operation.description, operation.argument}
        texts |= {*operation.notes.values(), *_field_texts(operation)}
        if operation.page is not None:
            texts |= {operation.page.title, operation.page.summary, operation.page.charge}
    return texts - {""}


def _field_texts(operation: Operation) -> set[str]:
    if operation.body is None:
        return set()
    properties = schemas([operation.body])[operation.body.__name__]["properties"]
    return {field.get("description", "") for field in properties.values()}
