"""Calls of the management API."""

import json
from typing import Any

import pytest
from django.test import Client

BASE = "/api/manage/v1"


class Caller:
    """Calls the management API as somebody and reads what it answers."""

    def __init__(self, client: Client | None = None, bearer: str | None = None) -> None:
        self.client = client or Client()
        self.headers = {"Authorization": f"Bearer {bearer}"} if bearer is not None else {}

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Return the response, whose `.data` is what its JSON says."""
        content = {} if body is None else {"data": body, "content_type": "application/json"}
        if not isinstance(body, str | bytes | None):
            content["data"] = json.dumps(body)
        response = self.client.generic(
            method, f"{BASE}{path}", headers={**self.headers, **headers}, **content
        )
        response.data = json.loads(response.content)
        return response


@pytest.fixture
def as_manager(management_key) -> Caller:
    """The management key of Alice's team."""
    return Caller(bearer=management_key.plaintext)
