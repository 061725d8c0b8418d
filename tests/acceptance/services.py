"""A running service as the acceptance tests see it: addresses, keys, and a look into its books."""

from dataclasses import dataclass
from typing import Any

import httpx

from tests.stack import Stack

EMAIL = "acceptance@example.com"
HELLO = [{"role": "user", "content": "Hello!"}]
_keys: dict[int, str] = {}


@dataclass(frozen=True)
class Service:
    """One service. `key` is of a customer who meets no limits, `demo_key` of `make run`'s."""

    name: str
    stack: Stack
    key: str

    @property
    def demo_key(self) -> str:
        """The key with the service's own prefix and the default limits."""
        return str(self.stack.demo["api_key"])

    @property
    def url(self) -> str:
        """Where the service is, without a slash at the end."""
        return self.stack.base_url

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        """Return a client whose calls start at the root and bring the key ("" for none)."""
        key = self.key if key is None else key
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, **options)

    def usage(self, answer: httpx.Response, *columns: str) -> Any:
        """Return columns of the usage record of an answered request."""
        query = f"SELECT {', '.join(columns)} FROM billing_usagerecord WHERE request_id = %s::uuid"
        (row,) = self.stack.sql(query, answer.headers["x-request-id"])
        return row if len(columns) > 1 else row[0]

    def balance(self, email: str = EMAIL) -> tuple[int, int]:
        """Return what the customer has, in nano-dollars: posted, and held by open requests."""
        (row,) = self.stack.sql(
            "SELECT posted_nanos, held_nanos FROM billing_creditaccount"
            " JOIN accounts_membership USING (team_id) JOIN accounts_user u ON u.id = user_id"
            " WHERE u.email = %s",
            email,
        )
        return int(row[0]), int(row[1])


def open_service(stack: Stack) -> Service:
    """Return the stack's service, with one customer for all the tests that need no own."""
    if id(stack) not in _keys:
        _keys[id(stack)] = stack.customer(
            EMAIL, "1000", requests_per_minute="1000000", tokens_per_minute="1000000000"
        )
    return Service(stack.catalogue, stack, _keys[id(stack)])
