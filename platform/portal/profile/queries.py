"""A user's data as a ZIP archive, produced piece by piece so that memory stays bounded."""

import io
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from django.db.models import QuerySet

from accounts.models import ApiKey, NotificationSettings, User
from accounts.teams import personal_team
from billing.models import CreditAccount, Transfer, UsageRecord
from billing.pricing.money import dollars_text
from portal.models import Conversation
from portal.ui.csv import csv_lines

CHUNK_ROWS = 1000

USAGE_COLUMNS = (
    *("created_at", "request_id", "key_id", "model", "endpoint", "surface", "end_user"),
    "session_id",
    *("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens"),
    *("images", "seconds", "pieces", "charged_nanos", "written_off_nanos"),
    *("source", "outcome", "status", "finish_reason", "latency_ms", "first_token_ms"),
)

# A file of the archive: its name, and what yields its bytes.
Part = tuple[str, Callable[[User], Iterator[bytes]]]


def archive(user: User) -> Iterator[bytes]:
    """Yield a ZIP archive of what is kept of the user: `PARTS`, one file each."""
    out = _Outlet()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content_of in PARTS:
            with file.open(name, "w", force_zip64=True) as entry:
                for content in content_of(user):
                    entry.write(content)
                    if made := out.take():
                        yield made
    yield out.take()


def profile(user: User) -> Iterator[bytes]:
    """Yield the user's row, their addresses' owner and what emails they want, as JSON."""
    wanted = NotificationSettings.of(user)
    yield _json(
        {
            "email": user.email,
            "name": user.name,
            "zone": user.zone,
            "terms_version": user.terms_version,
            "terms_accepted_at": user.terms_accepted_at,
            "created_at": user.created_at,
            "last_sign_in_at": user.last_login,
            "notifications": {
                "low_balance": wanted.low_balance,
                "low_balance_below_dollars": dollars_text(wanted.low_balance_nanos),
                "budget_reached": wanted.budget_reached,
                "key_created": wanted.key_created,
                "new_sign_in": wanted.new_sign_in,
            },
            "usage_page": list(
                user.usage_preferences.values("team__slug", "filters", "hidden_columns")
            ),
        }
    )


def memberships(user: User) -> Iterator[bytes]:
    """Yield the teams that the user is in, as JSON."""
    rows = user.memberships.select_related("team").order_by("id")
    yield _json(
        [
            {
                "team": each.team.name,
                "short_name": each.team.slug,
                "is_personal": each.team.is_personal,
                "role": each.role,
                "joined_at": each.created_at,
            }
            for each in rows
        ]
    )


def keys(user: User) -> Iterator[bytes]:
    """Yield the keys that the user made, without their secrets, as JSON."""
    names = ("id", "team__slug", "name", "scope", "prefix", "last_four", "created_at")
    ends = ("expires_at", "revoked_at", "last_address__address")
    rows = ApiKey.objects.filter(created_by=user).order_by("id")
    yield _json(list(rows.values(*names, *ends)))


def usage(user: User) -> Iterator[bytes]:
    """Yield the requests of the user's personal team, as CSV, oldest first."""
    rows = UsageRecord.objects.filter(account__in=_account(user))
    yield csv_lines([USAGE_COLUMNS])
    place: tuple[Any, ...] | None = None
    while True:
        page = rows.order_by("created_at", "request_id")
        if place is not None:
            created_at, request_id = place
            page = page.filter(created_at__gte=created_at).exclude(
                created_at=created_at, request_id__lte=request_id
            )
        found = list(page.values_list(*USAGE_COLUMNS)[:CHUNK_ROWS])
        if not found:
            return
        place = found[-1][:2]
        yield csv_lines(found)


def transfers(user: User) -> Iterator[bytes]:
    """Yield the statement of the user's personal team, as CSV; amounts are in dollars."""
    yield csv_lines([("created_at", "kind", "reference", "amount", "balance", "memo")])
    account = _account(user).first()
    sequence = 0
    while account is not None:
        rows = Transfer.objects.filter(customer=account, sequence__gt=sequence)
        found = list(rows.order_by("sequence")[:CHUNK_ROWS])
        if not found:
            return
        sequence = found[-1].sequence or 0
        yield csv_lines([_transfer_line(each, account) for each in found])


def conversations(user: User) -> Iterator[bytes]:
    """Yield the conversations that the user chose to store, as JSON."""
    yield b"["
    between = b"\n"
    for conversation in stored_conversations(user):
        yield between + msgspec.json.encode(conversation)
        between = b",\n"
    yield b"\n]\n"


# Another part is another line here.
PARTS: tuple[Part, ...] = (
    ("profile.json", profile),
    ("memberships.json", memberships),
    ("keys.json", keys),
    ("usage.csv", usage),
    ("transfers.csv", transfers),
    ("conversations.json", conversations),
)


class _Outlet(io.RawIOBase):
    """The archive's output: buffers bytes until they are taken. It can't seek."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        made = b"".join(self._pieces)
        self._pieces.clear()
        return made


def _account(user: User) -> QuerySet[CreditAccount]:
    return CreditAccount.objects.filter(team=personal_team(user), team__isnull=False)


def _transfer_line(transfer: Transfer, account: CreditAccount) -> tuple[object, ...]:
    sign = "-" if transfer.debit_account_id == account.pk else ""
    return (
        transfer.created_at.isoformat(),
        transfer.kind,
        transfer.reference,
        f"{sign}{dollars_text(transfer.amount_nanos)}",
        dollars_text(transfer.balance_nanos or 0),
        transfer.memo,
    )


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


CHUNK_CONVERSATIONS = 20


def stored_conversations(user: User) -> Iterator[dict[str, Any]]:
    """Yield all that is stored of the user's conversations, in whatever team, oldest first.

    Each is made of what JSON has; times are ISO 8601. Memory stays bounded, and no cursor is kept
    from one to the next, as the reader may give back the connection in between.
    """
    stored = Conversation.objects.filter(user=user).order_by("created_at", "id")
    place: Conversation | None = None
    while True:
        rest = stored
        if place is not None:
            rest = stored.filter(created_at__gte=place.created_at).exclude(
                created_at=place.created_at, id__lte=place.id
            )
        found = list(rest.select_related("team").prefetch_related("messages")[:CHUNK_CONVERSATIONS])
        if not found:
            return
        for conversation in found:
            yield _exported(conversation)
        place = found[-1]


def _exported(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": str(conversation.id),
        "team": conversation.team.slug,
        "title": conversation.title,
        "model": conversation.model,
        "settings": conversation.settings,
        "created_at": conversation.created_at.isoformat(),
        "updated_at": conversation.updated_at.isoformat(),
        "messages": [
            {
                "role": message.role,
                "content": message.content,
                "reasoning": message.reasoning,
                "model": message.model,
                "request_id": str(message.request_id) if message.request_id else None,
                "finish_reason": message.finish_reason,
                "created_at": message.created_at.isoformat(),
            }
            for message in sorted(conversation.messages.all(), key=lambda each: each.position)
        ],
    }
