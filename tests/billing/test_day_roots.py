"""Days' Merkle roots: the tree is RFC 6962's, each transfer is below one, and none changes."""

import base64
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from threading import Barrier
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from billing.ledger import postings
from billing.models import DayRoot
from billing.receipts import day_roots
from billing.receipts.day_roots import (
    close_days,
    close_days_of,
    leaves,
    proof_of,
    roots_of,
    signed_statement,
    signed_statements,
)
from billing.receipts.invariant import violations
from billing.receipts.merkle import CHUNK_LEAVES, Tree, leaf_hash, path_of, root_of
from tests.billing.conftest import broken_invariants
from tests.billing.ledger_calls import Customer, make_customer
from tests.portal.serving import book

LATER = datetime(2026, 4, 1, tzinfo=UTC)


def naive_root(data: Sequence[bytes]) -> bytes:
    """Return RFC 6962's MTH(D), word for word."""
    if len(data) <= 1:
        return sha256(b"\x00" + data[0] if data else b"").digest()
    split = 1
    while split * 2 < len(data):
        split *= 2
    both = naive_root(data[:split]) + naive_root(data[split:])
    return sha256(b"\x01" + both).digest()


def naive_path(index: int, data: Sequence[bytes]) -> list[bytes]:
    """Return RFC 6962's PATH(m, D), word for word."""
    if len(data) == 1:
        return []
    split = 1
    while split * 2 < len(data):
        split *= 2
    if index < split:
        return [*naive_path(index, data[:split]), naive_root(data[split:])]
    return [*naive_path(index - split, data[split:]), naive_root(data[:split])]


@pytest.mark.parametrize("size", [*range(71), CHUNK_LEAVES, CHUNK_LEAVES + 1, 2500])
def test_roots_and_paths_are_rfc_6962s(size: int) -> None:
    data = [b"%d" % number for number in range(size)]
    tree = Tree()
    for each in data:
        tree.add(leaf_hash(each))
    assert (tree.root, tree.size) == (naive_root(data), size)
    for index in range(size) if size < 71 else [0, CHUNK_LEAVES - 1, size - 1]:
        chunk = index // CHUNK_LEAVES
        own = data[chunk * CHUNK_LEAVES : (chunk + 1) * CHUNK_LEAVES]
        path = path_of([leaf_hash(each) for each in own], index % CHUNK_LEAVES)
        assert [*path, *path_of(tree.chunks, chunk)] == naive_path(index, data)


@given(st.lists(st.binary(max_size=4), max_size=40))
def test_a_level_by_level_root_is_the_recursive_one(data: list[bytes]) -> None:
    assert root_of([leaf_hash(each) for each in data]) == naive_root(data)


@pytest.fixture
def customer(db: None) -> Customer:
    """A customer with three transfers on two days in March, a day without any between them."""
    customer = make_customer()
    book(customer.account, "2026-03-15T00:00:00Z", "top_up", 10**10)
    book(customer.account, "2026-03-15T23:59:59.999999Z", "usage", -7, reference='ü\n\x7f"\\')
    book(customer.account, "2026-03-17T00:00:00Z", "usage", -8)
    return customer


def days_of(customer: Customer) -> list[tuple[date, int, int]]:
    return [
        (root.day, root.first_sequence, root.last_sequence)
        for root in reversed(roots_of(customer.account.pk, limit=100))
    ]


def wrong_roots(customer: Customer) -> list[str]:
    """Return what the proof finds wrong with the customer's roots."""
    return [each for each in violations() if f"account {customer.account.pk}," in each]


def claims(statement: str) -> dict[str, Any]:
    payload = statement.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return found


def test_a_day_has_a_root_once_it_is_closed(customer: Customer) -> None:
    close_days(datetime(2026, 3, 16, 0, 59, tzinfo=UTC))
    assert days_of(customer) == []
    assert close_days(datetime(2026, 3, 16, 1, 0, tzinfo=UTC)) >= 1
    assert days_of(customer) == [(date(2026, 3, 15), 1, 2)]
    assert close_days(LATER) >= 1
    assert close_days(LATER) == 0
    assert days_of(customer) == [(date(2026, 3, 15), 1, 2), (date(2026, 3, 17), 3, 3)]
    assert wrong_roots(customer) == []


def test_a_leaf_is_the_transfers_canonical_json(customer: Customer) -> None:
    close_days(LATER)
    account, transfers = customer.account, customer.transfers
    data = []
    for each in transfers[:2]:
        fields = {
            "id": str(each.pk),
            "team": str(customer.team.pk),
            "sequence": str(each.sequence),
            "kind": each.kind,
            "reference": each.reference,
            "direction": "credit" if each.credit_account_id == account.pk else "debit",
            "amount_nanos": str(each.amount_nanos),
            "balance_nanos": str(each.balance_nanos),
            "created_at": each.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        data.append(text.encode())
    assert transfers[0].created_at.microsecond == 0
    first = DayRoot.objects.get(account=account, day=date(2026, 3, 15))
    assert bytes(first.root) == naive_root(data)
    assert proof_of(account, 2) == {
        "day": "2026-03-15",
        "root": naive_root(data).hex(),
        "index": 1,
        "size": 2,
        "path": [naive_root(data[:1]).hex()],
    }
    assert proof_of(account, 4) is None


def test_statements_are_chained(customer: Customer) -> None:
    close_days(LATER)
    last, first = [
        claims(signed_statement(each)) for each in roots_of(customer.account.pk, limit=9)
    ]
    assert (first["previous"], first["size"]) == (None, 2)
    assert last["previous"] == {name: first[name] for name in ("day", "root", "chain")}
    for each, before in ((first, bytes(32)), (last, bytes.fromhex(first["chain"]))):
        link = before + each["day"].encode() + bytes.fromhex(each["root"])
        assert each["chain"] == sha256(link).hexdigest()


def test_a_pages_statements_are_those_of_its_roots_in_few_queries(
    customer: Customer, django_assert_num_queries: Any
) -> None:
    close_days(LATER)
    roots = roots_of(customer.account.pk, limit=9)
    one_by_one = [signed_statement(each) for each in roots]
    with django_assert_num_queries(1):  # the signing key
        assert signed_statements(roots, limit=9) == one_by_one
        assert signed_statements([], limit=9) == []
    assert signed_statements(roots, limit=1) == one_by_one[:1]


def test_a_transfer_that_comes_after_its_day_was_closed_is_of_the_next(customer: Customer) -> None:
    close_days(datetime(2026, 3, 16, 1, 0, tzinfo=UTC))
    before = days_of(customer)
    late = make_customer()
    book(late.account, "2026-03-15T10:00:00Z", "top_up", 10)
    close_days(datetime(2026, 3, 16, 1, 0, tzinfo=UTC))
    book(late.account, "2026-03-15T23:59:59Z", "usage", -1)
    close_days(datetime(2026, 3, 16, 5, 0, tzinfo=UTC))
    assert days_of(late) == [(date(2026, 3, 15), 1, 1)]
    close_days(datetime(2026, 3, 17, 1, 0, tzinfo=UTC))
    assert days_of(late) == [(date(2026, 3, 15), 1, 1), (date(2026, 3, 16), 2, 2)]
    assert days_of(customer)[:1] == before
    assert wrong_roots(late) == []


@pytest.mark.parametrize(
    "change", ["UPDATE billing_dayroot SET root = ''", "TRUNCATE billing_dayroot"]
)
def test_a_root_is_never_changed(customer: Customer, change: str) -> None:
    close_days(LATER)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # nothing is pending of the new rows
        with pytest.raises(IntegrityError, match="billing_dayroot"), transaction.atomic():
            cursor.execute(change)


CORRUPTIONS = {
    "a root": "UPDATE billing_dayroot SET root = sha256(root)",
    "a chunk's root": "UPDATE billing_dayroot SET chunk_hashes = sha256(root)",
    "the chain": "UPDATE billing_dayroot SET chain = sha256(chain) WHERE day = '2026-03-17'",
    "the day": "UPDATE billing_dayroot SET day = '2026-03-14' WHERE day = '2026-03-15'",
    "a day left out": "DELETE FROM billing_dayroot WHERE day = '2026-03-15'",
    "a transfer": "UPDATE billing_transfer SET reference = 'other' WHERE amount_nanos = 7",
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_check_ledger_finds_a_wrong_root(customer: Customer, name: str) -> None:
    close_days(LATER)
    assert wrong_roots(customer) == []
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # without the triggers
        cursor.execute(CORRUPTIONS[name])
    assert wrong_roots(customer) != []
    assert "I9 roots" in broken_invariants()


@pytest.mark.django_db(transaction=True)
def test_builders_at_once_build_each_root_once() -> None:
    customer = make_customer(100)
    for number in range(5):
        postings.grant(customer.account, 1, reference=f"{customer.team.slug} {number}")
    end = datetime.now(UTC) + timedelta(days=3)
    barrier = Barrier(4)

    def build(_: int) -> int:
        try:
            barrier.wait(60)
            return close_days_of(customer.account, end)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        built = sum(threads.map(build, range(4)))
    days = days_of(customer)
    assert len(days) == built
    assert [number for _, first, last in days for number in range(first, last + 1)] == [
        *range(1, 7)
    ]
    assert wrong_roots(customer) == []


def test_the_index_of_the_sequence_finds_what_a_root_needs(customer: Customer) -> None:
    """Any plan but this one would read other customers' transfers, or sort the day's."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_bitmapscan = off")
        cursor.execute(
            "EXPLAIN SELECT id FROM billing_transfer WHERE customer_id = %s AND sequence >= 1"
            " ORDER BY sequence",
            [customer.account.pk],
        )
        plan = "\n".join(row for (row,) in cursor.fetchall())
    assert "Index Scan using transfer_sequence" in plan
    assert "Sort" not in plan
    assert day_roots.FETCH_ROWS < 10_000
    assert [leaf.sequence for leaf in leaves(customer.account, 2)] == [2, 3]
