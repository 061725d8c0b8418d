"""What the ledger costs: reserve and settle through the gate, batched and not, spread and hot.

`python -m tests.bench.ledger KEY [KEY ...]` prints one JSON object. Each key is another team's.
"""

import asyncio
import json
import os
import sys
import time

import django
import psycopg
import uvloop

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from django.conf import settings  # noqa: E402

from accounts import keys  # noqa: E402
from api.gateway.http import new_request_id  # noqa: E402
from billing.ledger.gate import Admission, Gate, Settlement  # noqa: E402

SECONDS = 3.0


class Ledger:
    """Reserves and settles over and over for one key after the other."""

    def __init__(self, gate: Gate, key_texts: list[str], version: int, price_id: int) -> None:
        self._gate = gate
        self._digests = [keys.digests(text) for text in key_texts]
        self._version = version
        self._price_id = price_id
        self._turn = 0

    async def request(self) -> None:
        """One request's reservation and settlement."""
        self._turn += 1
        request_id = new_request_id()
        admission = await self._gate.admit(
            Admission(
                request_id=request_id,
                digests=self._digests[self._turn % len(self._digests)],
                model="bench",
                surface="v1",
                price_version_id=self._price_id,
                amount_nanos=1000,
                minimum_nanos=1000,
                tokens=100,
                hold_seconds=60,
                catalogue_version=self._version,
            )
        )
        if admission.code != "admitted":
            raise RuntimeError(admission.code)
        await self._gate.settle(
            Settlement(
                request_id=request_id,
                account_id=admission.account_id,
                key_id=admission.key_id,
                price_version_id=self._price_id,
                model="bench",
                surface="v1",
                endpoint="chat_completions",
                outcome="completed",
                status=200,
                input_tokens=20,
                output_tokens=8,
                input_nanos=14,
                output_nanos=20,
                source="upstream",
                finish_reason="stop",
            )
        )

    async def rate(self, waiting: int) -> float:
        """Return requests per second with `waiting` of them under way at once."""
        deadline = time.perf_counter() + SECONDS
        count = 0

        async def worker() -> None:
            nonlocal count
            while time.perf_counter() < deadline:
                await self.request()
                count += 1

        started = time.perf_counter()
        await asyncio.gather(*[worker() for _ in range(waiting)])
        return count / (time.perf_counter() - started)


async def main(key_texts: list[str]) -> None:
    """Measure and print the rates."""
    connection = await psycopg.AsyncConnection.connect(settings.DATABASE_URL)
    row = await (
        await connection.execute(
            "SELECT v.version, max(p.id) FROM billing_catalogueversion v, billing_priceversion p"
            " GROUP BY v.version"
        )
    ).fetchone()
    assert row is not None
    await connection.close()
    gate = Gate(settings.DATABASE_URL)
    await gate.open()
    spread = Ledger(gate, key_texts, *row)
    hot = Ledger(gate, key_texts[:1], *row)
    await spread.rate(64)
    one_by_one = await spread.rate(1)
    rates = {"spread": [], "hot": []}
    for _ in range(2):
        rates["spread"].append(await spread.rate(256))
        rates["hot"].append(await hot.rate(256))
    await gate.close(5)
    print(
        json.dumps(
            {
                "one_by_one_rps": one_by_one,
                "batched_rps": max(rates["spread"]),
                "hot_rps": max(rates["hot"]),
            }
        )
    )


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
