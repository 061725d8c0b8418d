"""The service that the programs are run against: a stack with a catalogue of its own, customers,
what their requests came to, and what the simulator's journal says they had to come to.
"""

import json
import re
import tomllib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

from api.gateway.quote import LIKELY_TOKENS_PER_MESSAGE
from tests.stack import Stack
from tests.support.waiting import eventually

CATALOGUE = Path(__file__).with_name("catalogue.toml")
# The model for each dialect that an upstream speaks.
MODELS = {
    "chat completions": "claude-on-chat",
    "Messages": "claude-on-messages",
    "Responses": "claude-on-responses",
}
EMBEDDING_MODEL = "text-embedding-sim"
# What an estimate has for the template around a stream's messages: one, or two with instructions.
TEMPLATE_TOKENS = 2 * LIKELY_TOKENS_PER_MESSAGE
NANOS_PER_DOLLAR = 10**9
TOKENS_PER_RATE = 10**6
# The endpoints of the simulator whose calls are charged for.
CHARGED = ("/chat/completions", "/messages", "/responses", "/embeddings")
ACCESS_LINE = re.compile(r"^ACCESS (?P<method>\S+) (?P<path>\S+) (?P<status>\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Customer:
    """A customer of the service, with a team, an account and a key."""

    email: str
    account: int
    key: str


@dataclass(frozen=True)
class Bill:
    """What a customer's requests came to.

    `charged_nanos` is the sum of the usage records, `expected_nanos` what the journal's tokens cost
    at the catalogue's prices; both leave out requests that the client has left. Of those, `left`
    counts the ones charged no more than what the upstream has sent, and an estimate of the prompt:
    the upstream's own count comes with the end, which they don't see.
    """

    requests: int
    input_tokens: int
    output_tokens: int
    charged_nanos: int
    expected_nanos: int
    left: int = 0

    @property
    def agrees(self) -> bool:
        """Whether the customer was charged to the digit."""
        return self.charged_nanos == self.expected_nanos


class ClientsService(AbstractContextManager["ClientsService"]):
    """A running stack with `catalogue.toml`, whose web workers write a line for each request."""

    def __init__(self, folder: Path) -> None:
        log_format = "ACCESS %(m)s %(U)s %(s)s"
        arguments = f"--access-logfile - --access-logformat '{log_format}'"
        self.stack = Stack(folder, GUNICORN_CMD_ARGS=arguments)
        self._customers = 0

    def __enter__(self) -> "ClientsService":
        self.stack.__enter__()
        try:
            self.stack.manage("load_catalogue", str(CATALOGUE), "--replace")
            # It answers the chats that are answered later.
            self.stack.start_worker()
        except BaseException:
            self.stack.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.__exit__(*error)

    @property
    def url(self) -> str:
        """The service's address, without a slash at the end."""
        return self.stack.base_url

    def open_customer(self, credit: str = "10") -> Customer:
        """Return a new customer with this credit in dollars."""
        self._customers += 1
        email = f"client-{self._customers}@example.com"
        made = json.loads(self.stack.manage("create_customer", email, "--credit", credit, "--json"))
        return Customer(email, made["account_id"], made["api_key"])

    def put_turns(self, name: str, turns: list[dict[str, Any]]) -> None:
        """Lay out an agent's turns under a name."""
        httpx.put(f"{self.stack.simulator_url}/turns/{name}", json=turns).raise_for_status()

    def access_mark(self) -> int:
        """Return a place in the access log, to read on from later."""
        return len(self.stack.log("web"))

    def requests_since(self, mark: int) -> list[tuple[str, str, int]]:
        """Return the method, path and status of each answered request since a mark."""
        lines = ACCESS_LINE.finditer(self.stack.log("web")[mark:])
        return [(line["method"], line["path"], int(line["status"])) for line in lines]

    def bill(self, customer: Customer) -> Bill:
        """Return what a customer's requests came to, once none of them is open any more."""
        eventually(lambda: not self._is_open(customer), seconds=20, what="a request stays open")
        charges = dict(
            self.stack.sql(
                "SELECT replace(request_id::text, '-', ''), charged_nanos FROM billing_usagerecord"
                " WHERE account_id = %s",
                customer.account,
            )
        )
        entries = [entry for entry in self.stack.journal() if entry["request_id"] in charges]
        return bill_of(charges, [entry for entry in entries if entry["path"].endswith(CHARGED)])

    def _is_open(self, customer: Customer) -> bool:
        query = "SELECT held_nanos FROM billing_creditaccount WHERE id = %s"
        (held_nanos,) = self.stack.sql(query, customer.account)[0]
        still_called = httpx.get(f"{self.stack.simulator_url}/healthz").json()["open_calls"]
        return bool(held_nanos or still_called)


def bill_of(charges: dict[str, int], entries: Iterable[dict[str, Any]]) -> Bill:
    """Return the bill of the usage records' charges, by request, and the journal's entries."""
    completed: dict[str, int] = {}
    abandoned: dict[str, int] = {}
    input_tokens = output_tokens = 0
    for entry in entries:
        cost_nanos = _cost_nanos(entry) if entry["status"] == 200 else 0
        if entry["end"] == "client_closed":
            # The simulator's templates add no tokens, unlike the models that estimates are for.
            counted = {**entry, "prompt_tokens": entry["prompt_tokens"] + TEMPLATE_TOKENS}
            abandoned[entry["request_id"]] = _cost_nanos(counted)
            continue
        request = entry["request_id"]
        completed[request] = completed.get(request, 0) + cost_nanos
        input_tokens += entry["prompt_tokens"]
        output_tokens += entry["tokens_sent"]
    charged = {request: nanos for request, nanos in charges.items() if request not in abandoned}
    return Bill(
        requests=len(charges),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        charged_nanos=sum(charged.values()),
        expected_nanos=sum(completed.values()),
        left=sum(0 < charges[request] <= most for request, most in abandoned.items()),
    )


def _cost_nanos(entry: dict[str, Any]) -> int:
    """Return what a call to the simulator costs a customer."""
    prices = _prices()[entry["model"]]
    parts = (("input", entry["prompt_tokens"]), ("output", entry["tokens_sent"]))
    return sum(_part_nanos(prices.get(name, "0"), tokens) for name, tokens in parts)


def _part_nanos(dollars: str, tokens: int) -> int:
    """Return what tokens cost at dollars a million. The catalogue's prices need no rounding."""
    nanos = Decimal(dollars) * NANOS_PER_DOLLAR / TOKENS_PER_RATE * tokens
    assert nanos == int(nanos), dollars
    return int(nanos)


def _prices() -> dict[str, dict[str, str]]:
    models = tomllib.loads(CATALOGUE.read_text())["models"]
    return {model["name"]: model["prices"] for model in models}
