"""A customer without limits who talks to the whole service, and a look at what it cost."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from tests.stack import Stack
from tests.support.waiting import eventually

EMAIL = "talk@example.com"
HELLO = [{"role": "user", "content": "Hello!"}]  # 6 bytes: two tokens to the simulator and to us
MOUNTS = ("", "/v1", "/api/v1", "/api/paas/v4", "/api/coding/paas/v4", "/ide/v1")
Json = dict[str, Any]

_keys: dict[int, str] = {}


@dataclass(frozen=True)
class Talk:
    """One customer's way to the service."""

    stack: Stack
    key: str

    def client(self) -> httpx.Client:
        """Return a client of the root, whose calls bring the key."""
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=self.stack.base_url, headers=headers, timeout=30)

    def post(self, path: str, body: Json) -> httpx.Response:
        """Return the answer to a POST."""
        with self.client() as client:
            return client.post(path, json=body)

    def chat(self, mount: str = "/v1", simulate: str = "", **fields: Any) -> httpx.Response:
        """Return the answer of a chat; `simulate` is what the upstream is to do."""
        return self.post(f"{mount}/chat/completions", _body(simulate, fields))

    def message(self, mount: str = "/v1", simulate: str = "", **fields: Any) -> Json:
        """Return the first message of a chat's answer."""
        answer = self.chat(mount, simulate, **fields)
        assert answer.status_code == 200, answer.text
        message: Json = answer.json()["choices"][0]["message"]
        return message

    def chunks(self, mount: str = "/v1", simulate: str = "", **fields: Any) -> list[Json]:
        """Return the chunks of a streamed chat."""
        answer = self.chat(mount, simulate, stream=True, **fields)
        assert answer.status_code == 200, answer.text
        return events(answer)

    def refusal(self, mount: str = "/v1", **fields: Any) -> tuple[int, str, str | None]:
        """Return status, code and param of the error that a chat is answered with."""
        return error(self.chat(mount, **fields))

    def sent(self, answer: httpx.Response) -> Json:
        """Return what the upstream's journal says of an answered request: the last attempt."""
        calls = self.stack.journal(request_id=answer.headers["x-request-id"])
        assert calls, "the upstream was never asked"
        return calls[-1]

    def never_sent(self, answer: httpx.Response) -> bool:
        """Return whether no upstream was asked."""
        return not self.stack.journal(request_id=answer.headers["x-request-id"])

    def usage(self, request_id: str, *columns: str) -> tuple[Any, ...]:
        """Return columns of the usage record of a request, once it is there."""
        query = f"SELECT {', '.join(columns)} FROM billing_usagerecord WHERE request_id = %s::uuid"
        row: tuple[Any, ...] = eventually(lambda: self.stack.sql(query, request_id))[0]
        return row

    def charged(self, answer: httpx.Response) -> int:
        """Return the charge for an answered request in nano-dollars, from its usage record."""
        return int(self.usage(answer.headers["x-request-id"], "charged_nanos")[0])


def talk_to(stack: Stack) -> Talk:
    """Return the customer of all the tests that need none of their own."""
    if id(stack) not in _keys:
        _keys[id(stack)] = stack.customer(
            EMAIL, "1000", requests_per_minute="1000000", tokens_per_minute="1000000000"
        )
    return Talk(stack, _keys[id(stack)])


def events(answer: httpx.Response) -> list[Json]:
    """Return the JSON events of a stream, which must end with `[DONE]`."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    datas = [
        line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")
    ]
    assert datas[-1] == "[DONE]", datas[-3:]
    return [json.loads(data) for data in datas[:-1]]


def deltas(chunks: list[Json], field: str, index: int = 0) -> list[str]:
    """Return a field's texts in one choice's deltas."""
    found = [
        choice["delta"].get(field)
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["index"] == index
    ]
    return [text for text in found if text]


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Return status, code and param of an error."""
    told = answer.json()["error"]
    return answer.status_code, told["code"], told["param"]


@contextlib.contextmanager
def row_of(stack: Stack, model: str, **columns: Any) -> Iterator[None]:
    """Change columns of a model's row, as staff would, and put them back."""
    yield from _changed(stack, "api_model", "name = %s", model, columns)


@contextlib.contextmanager
def route_of(stack: Stack, model: str, **columns: Any) -> Iterator[None]:
    """Change columns of a model's routes, as staff would, and put them back."""
    where = "model_id = (SELECT id FROM api_model WHERE name = %s)"
    yield from _changed(stack, "api_route", where, model, columns)


def _changed(stack: Stack, table: str, where: str, model: str, columns: Json) -> Iterator[None]:
    names = ", ".join(columns)
    (before,) = stack.sql(f"SELECT {names} FROM {table} WHERE {where}", model)
    change = f"UPDATE {table} SET ({names}) = ROW({', '.join(['%s'] * len(columns))}) WHERE {where}"
    stack.sql(change, *columns.values(), model)
    try:
        yield
    finally:
        stack.sql(change, *before, model)


def _body(simulate: str, fields: Json) -> Json:
    script = {"simulate": simulate} if simulate else {}
    return {"model": "glm-5.2", "messages": HELLO, **script, **fields}
