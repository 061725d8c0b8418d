"""Load under random faults. `make faults SEED=…` replays their order, `MINUTES=…` says how long."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
import redis

from tests.faults.conftest import ACCOUNTS_OF, reservations
from tests.faults.rows import recovery
from tests.stack import Stack, chat
from tests.support.waiting import eventually

pytestmark = pytest.mark.row("chaos", "a soak under random kills, restarts and flushes")

SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.randrange(1, 10**9)
SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
CLIENTS = 8
CREDIT_DOLLARS = "20"


def load(stack: Stack, key: str, seed: int, stop: threading.Event) -> None:
    """Send requests of every kind, and leave some of them before their end."""
    dice = random.Random(seed)
    with stack.client(key, timeout=20) as client:
        while not stop.is_set():
            script = f"tokens={dice.randrange(1, 60)}&pace_ms={dice.choice([0, 5, 30])}"
            script += dice.choice(["", "", "&status=500", "&cut_after=5", "&usage=missing"])
            body = chat(simulate=script, max_tokens=80, stream=dice.random() < 0.5)
            with (
                suppress(httpx.TransportError),
                client.stream("POST", "/chat/completions", json=body) as answer,
            ):
                for count, _ in enumerate(answer.iter_bytes(64)):
                    if count == 10 and dice.random() < 0.3:
                        break


def one_fault(stack: Stack, dice: random.Random) -> None:
    """Do one thing that must not harm anybody's money."""
    match dice.choice(["worker", "worker", "all", "database", "valkey", "term"]):
        case "worker":
            for pid in stack.web_pids()[:1]:
                os.kill(pid, signal.SIGKILL)
        case "all":
            stack.kill_web()
            stack.start_web()
        case "database":
            stack.postgres.restart("immediate")
        case "valkey":
            redis.Redis.from_url(stack.valkey.url).flushall()
        case "term":
            for pid in stack.web_pids()[:1]:
                os.kill(pid, signal.SIGTERM)


@pytest.mark.faults
def test_books_survive_random_faults(stack_with: Callable[..., Stack]) -> None:
    print(f"CHAOS_SEED={SEED}")
    dice = random.Random(SEED)
    stack = stack_with(workers=2, GRACEFUL_SECONDS="6")
    limits = {"requests_per_minute": "100000", "tokens_per_minute": "100000000"}
    keys = [
        stack.customer(f"chaos-{number}@example.com", CREDIT_DOLLARS, **limits)
        for number in range(2)
    ]
    stack.start_worker()
    known_calls = len(stack.journal())
    stop = threading.Event()
    threads = [
        threading.Thread(target=load, args=(stack, keys[number % 2], SEED + number, stop))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        time.sleep(dice.uniform(1, 4))
        one_fault(stack, dice)
    stop.set()
    for thread in threads:
        thread.join()

    with recovery():
        eventually(lambda: "open" not in reservations(stack), seconds=30, what="a hold did not end")
    stack.check_ledger()
    journal = {call["request_id"].replace("-", ""): call for call in stack.journal()[known_calls:]}
    charged = stack.sql(
        "SELECT replace(request_id::text, '-', ''), output_tokens, charged_nanos"
        f" FROM billing_usagerecord WHERE charged_nanos > 0 AND account_id IN {ACCOUNTS_OF}",
        "chaos-%",
    )
    assert len(charged) > 50
    for request_id, output_tokens, _ in charged:
        assert request_id in journal, "charged for a call that no upstream got"
        assert output_tokens <= journal[request_id]["tokens_sent"] + 1, "charged for more"
    known = {
        str(row[0])
        for row in stack.sql("SELECT replace(id::text, '-', '') FROM billing_reservation")
    }
    assert set(journal) <= known, "a call was relayed without a reservation"
