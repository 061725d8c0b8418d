"""Merkle roots of teams' transfers, day by day, and proofs that a transfer is below one.

A day's transfers are consecutive: from after those of the day before to the last that was posted
before the next day's first (UTC). An account's transfers are numbered and committed in one order,
so nothing can come between them later, and a root never changes. `platform/docs/ledger.md` has the
encoding of a transfer.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from billing.failpoints import failpoint
from billing.models import CreditAccount, DayRoot, Transfer
from billing.receipts.keys import sign_all
from billing.receipts.merkle import CHUNK_LEAVES, HASH_BYTES, Tree, leaf_hash, path_of

# By then the transactions that began before midnight have ended. A transfer of one that has not is
# below the next day's root.
CLOSES_AFTER = timedelta(hours=1)
FETCH_ROWS = 5000
KIND = "day-root+jwt"
START_OF_CHAIN = bytes(HASH_BYTES)
_FIELDS = (
    *("id", "kind", "reference", "credit_account_id", "amount_nanos"),
    *("sequence", "balance_nanos", "created_at"),
)


class Leaf(NamedTuple):
    """A transfer as a tree has it."""

    sequence: int
    created_at: datetime
    fields: dict[str, str]

    @property
    def hashed(self) -> bytes:
        """The leaf's hash, of the fields as canonical JSON (RFC 8785)."""
        return leaf_hash(msgspec.json.encode(self.fields, order="sorted"))


def leaves(account: CreditAccount, first: int, last: int | None = None) -> Iterator[Leaf]:
    """Yield an account's transfers from one sequence on, read as they are asked for."""
    rows = Transfer.objects.filter(customer=account, sequence__gte=first).order_by("sequence")
    if last is not None:
        rows = rows.filter(sequence__lte=last)
    for row in rows.values_list(*_FIELDS).iterator(FETCH_ROWS):
        number, kind, reference, credited, amount, sequence, balance, created_at = row
        yield Leaf(
            sequence,
            created_at,
            {
                "amount_nanos": str(amount),
                "balance_nanos": str(balance),
                "created_at": created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                "direction": "credit" if credited == account.pk else "debit",
                "id": str(number),
                "kind": kind,
                "reference": reference,
                "sequence": str(sequence),
                "team": str(account.team_id),
            },
        )


def close_days(now: datetime | None = None) -> int:
    """Build the roots of all days that are closed and have none; return their number.

    Concurrent runs are harmless.
    """
    end = _start_of((now or timezone.now()) - CLOSES_AFTER)
    accounts = CreditAccount.objects.in_bulk(_accounts_to_close(end))
    return sum(close_days_of(account, end) for account in accounts.values())


def close_days_of(account: CreditAccount, end: datetime) -> int:
    """Build an account's missing roots of days until `end`; return their number.

    Each is written in a transaction of its own. Leave an account alone that another run is at.
    """
    built = 0
    while _close_next_day(account, end):
        built += 1
        failpoint("after_day_root")
    return built


def signed_statement(root: DayRoot) -> str:
    """Return the signed statement of a day's root. Raise SigningUnavailableError."""
    before = roots_of(root.account_id, limit=1, before=root.day)
    return signed_statements([root, *before], limit=1)[0]


def signed_statements(roots: list[DayRoot], *, limit: int) -> list[str]:
    """Return the signed statements of the first `limit` of an account's roots, the latest first.

    The root that follows them must be among `roots`, if there is one: the last statement names it.
    Raise SigningUnavailableError.
    """
    statements = [*map(_statement_of, roots[:limit], [*roots[1:], None])]
    return sign_all(statements, KIND) if statements else []


def _statement_of(root: DayRoot, previous: DayRoot | None) -> dict[str, Any]:
    """Return the claims about a day's root and the one before it."""
    return {
        "iss": settings.BASE_URL,
        "iat": int(root.created_at.timestamp()),
        "team": root.account.team_id,
        "day": root.day.isoformat(),
        "first_sequence": root.first_sequence,
        "last_sequence": root.last_sequence,
        "size": root.size,
        "root": root.root.hex(),
        "chain": root.chain.hex(),
        "previous": previous
        and {
            "day": previous.day.isoformat(),
            "root": previous.root.hex(),
            "chain": previous.chain.hex(),
        },
    }


def roots_of(
    account_id: int, *, limit: int, before: date | None = None, day: date | None = None
) -> list[DayRoot]:
    """Return an account's roots, the latest first: those before a day, or that of one."""
    found = DayRoot.objects.filter(account=account_id).select_related("account")
    if before is not None:
        found = found.filter(day__lt=before)
    if day is not None:
        found = found.filter(day=day)
    return list(found.defer("chunk_hashes").order_by("-day")[:limit])


def proof_of(account: CreditAccount, sequence: int) -> dict[str, Any] | None:
    """Return the proof that a transfer is below its day's root; None while the day is open."""
    found = DayRoot.objects.filter(account=account, first_sequence__lte=sequence)
    root = found.order_by("-first_sequence").first()
    if root is None or root.last_sequence < sequence:
        return None
    index = sequence - root.first_sequence
    chunk = index // CHUNK_LEAVES
    first = root.first_sequence + chunk * CHUNK_LEAVES
    last = min(first + CHUNK_LEAVES - 1, root.last_sequence)
    own = [leaf.hashed for leaf in leaves(account, first, last)]
    path = path_of(own, index % CHUNK_LEAVES) + path_of(chunks_of(root), chunk)
    return {
        "day": root.day.isoformat(),
        "root": root.root.hex(),
        "index": index,
        "size": root.size,
        "path": [each.hex() for each in path],
    }


def chunks_of(root: DayRoot) -> list[bytes]:
    """Return the roots of a tree's chunks."""
    stored = bytes(root.chunk_hashes)
    return [stored[at : at + HASH_BYTES] for at in range(0, len(stored), HASH_BYTES)]


def chained(previous: bytes, day: date, root: bytes) -> bytes:
    """Return the hash that a day's root adds to the chain of those before it."""
    return sha256(previous + day.isoformat().encode() + root).digest()


def end_of(day: date) -> datetime:
    """Return the moment at which a UTC day ends."""
    return datetime.combine(day + timedelta(days=1), time(), UTC)


def _start_of(moment: datetime) -> datetime:
    return datetime.combine(moment.astimezone(UTC).date(), time(), UTC)


def _accounts_to_close(end: datetime) -> list[int]:
    """Return the accounts whose first transfer that is below no root was posted before `end`."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT a.id FROM billing_creditaccount a
            CROSS JOIN LATERAL (
                SELECT coalesce(max(last_sequence), 0) AS sequence FROM billing_dayroot
                WHERE account_id = a.id) AS r
            CROSS JOIN LATERAL (
                SELECT created_at FROM billing_transfer
                WHERE customer_id = a.id AND sequence = r.sequence + 1 LIMIT 1) AS t
            WHERE a.kind = 'customer' AND a.last_sequence > r.sequence AND t.created_at < %s
            ORDER BY a.id
            """,
            [end],
        )
        return [account_id for (account_id,) in cursor.fetchall()]


def _close_next_day(account: CreditAccount, end: datetime) -> bool:
    """Build the root after an account's last; return whether there is a closed day without one."""
    with transaction.atomic():
        if not _lock(account):
            return False
        previous = DayRoot.objects.filter(account=account).order_by("-day").first()
        found = leaves(account, previous.last_sequence + 1 if previous else 1)
        first = next(found, None)
        if first is None:
            return False
        day = first.created_at.astimezone(UTC).date()
        if previous is not None:  # it may have been posted before that day was closed
            day = max(day, previous.day + timedelta(days=1))
        if end_of(day) > end:
            return False
        tree = Tree()
        tree.add(first.hashed)
        for leaf in found:
            if leaf.created_at >= end_of(day):
                break
            tree.add(leaf.hashed)
        failpoint("in_day_root")
        DayRoot.objects.create(
            account=account,
            day=day,
            first_sequence=first.sequence,
            last_sequence=first.sequence + tree.size - 1,
            root=tree.root,
            chain=chained(bytes(previous.chain) if previous else START_OF_CHAIN, day, tree.root),
            chunk_hashes=b"".join(tree.chunks),
        )
    return True


def _lock(account: CreditAccount) -> bool:
    """Lock an account's roots until the transaction ends; return False if another run has them.

    It is not the account's row, which settlements lock.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_try_advisory_xact_lock(hashtextextended('billing_dayroot', %s))",
            [account.pk],
        )
        (is_ours,) = cursor.fetchone()
    return bool(is_ours)
