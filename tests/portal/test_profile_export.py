"""The export of a user's data: complete, without secrets, in bounded memory."""

import csv
import io
import json
import uuid
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import Team, User
from api.account_opening import open_team
from billing.ledger import postings
from billing.models import CreditAccount, UsageRecord
from portal.models import Conversation
from portal.profile import queries
from portal.profile.queries import archive
from tests.cast import IssuedKey, issue, signed_in

pytestmark = [
    pytest.mark.django_db,
    # The test's client is synchronous, the service is not.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous"),
]


def record(account: CreditAccount, key: IssuedKey, count: int, **fields: Any) -> None:
    """Write usage; some of it at the same moment."""
    start = timezone.now()
    UsageRecord.objects.bulk_create(
        UsageRecord(
            request_id=uuid.uuid4(),
            account=account,
            key=key.key,
            price_version_id=1,
            model=fields.pop("model", "m"),
            surface="v1",
            endpoint="chat",
            outcome="completed",
            created_at=start + timedelta(seconds=number // 3),
            **fields,
        )
        for number in range(count)
    )


def opened(user: User) -> dict[str, str]:
    """Return the archive's files as the browser gets them."""
    answer = signed_in(user).post("/settings/data/export")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/zip"
    assert "attachment" in answer["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(b"".join(answer))) as file:
        assert file.testzip() is None
        return {name: file.read(name).decode() for name in file.namelist()}


def test_all_that_is_kept_is_in_it_and_no_secret(
    alice: User, alices_account: CreditAccount, alices_key: IssuedKey
) -> None:
    postings.grant(alices_account, 5 * 10**9, reference="gift", memo="Hello")
    postings.adjust(alices_account, -(10**9), reference="slip", memo="=1+1")
    record(alices_account, alices_key, 1, end_user="@evil")
    open_team(alice, "Shared")
    files = opened(alice)
    assert set(files) == {
        *("profile.json", "memberships.json", "keys.json", "usage.csv", "transfers.csv"),
        "conversations.json",
    }
    assert json.loads(files["profile.json"])["email"] == "alice@example.com"
    teams = {each["team"]: each["role"] for each in json.loads(files["memberships.json"])}
    assert teams == {"Alice": "owner", "Shared": "owner"}
    (key,) = json.loads(files["keys.json"])
    assert key["last_four"] == alices_key.plaintext[-4:]
    assert json.loads(files["conversations.json"]) == []
    everything = "".join(files.values())
    assert alices_key.plaintext not in everything
    assert bytes(alices_key.key.digest).hex() not in everything
    assert alice.password not in everything
    (usage,) = csv.DictReader(io.StringIO(files["usage.csv"]))
    assert (usage["model"], usage["end_user"]) == ("m", "'@evil")
    grant, slip = csv.DictReader(io.StringIO(files["transfers.csv"]))
    assert (grant["amount"], grant["balance"], grant["memo"]) == (
        *("5.000000000", "5.000000000", "Hello"),
    )
    assert (slip["amount"], slip["balance"], slip["memo"]) == (
        *("-1.000000000", "4.000000000", "'=1+1"),
    )


def test_no_row_is_left_out_or_twice_where_pages_meet(
    alice: User, alices_account: CreditAccount, alices_key: IssuedKey, monkeypatch: Any
) -> None:
    monkeypatch.setattr(queries, "CHUNK_ROWS", 4)
    record(alices_account, alices_key, 23)
    for number in range(9):
        postings.grant(alices_account, 1, reference=f"{number}")
    files = opened(alice)
    ids = [row["request_id"] for row in csv.DictReader(io.StringIO(files["usage.csv"]))]
    assert sorted(ids) == sorted(map(str, UsageRecord.objects.values_list("pk", flat=True)))
    references = [row["reference"] for row in csv.DictReader(io.StringIO(files["transfers.csv"]))]
    assert references == [f"{number}" for number in range(9)]


@pytest.mark.django_db(transaction=True)  # so that the connection may be closed on the way
def test_stored_conversations_are_in_it_one_page_after_another(
    alice: User, charlie: User, monkeypatch: Any
) -> None:
    monkeypatch.setattr("portal.profile.queries.CHUNK_CONVERSATIONS", 2)
    team = alice.teams.get()
    now = timezone.now()
    for number in range(5):
        stored = Conversation.objects.create(
            user=alice, team=team, title=f"About {number}", model="m", created_at=now
        )
        stored.messages.create(position=0, role="user", content=f"Question {number}")
    Conversation.objects.create(user=charlie, team=charlie.teams.get(), title="Other", model="m")
    pieces = queries.conversations(alice)
    made = b""
    for piece in pieces:
        made += piece
        connection.close()
    exported = json.loads(made)
    assert sorted(each["title"] for each in exported) == [f"About {n}" for n in range(5)]
    assert exported[0]["messages"][0]["content"].startswith("Question")


def test_nobody_elses_data_is_in_it(
    charlie: User,
    charlies_account: CreditAccount,
    charlies_key: IssuedKey,
    bob: User,
    alices_team: Team,
    alices_account: CreditAccount,
    bobs_key: IssuedKey,
) -> None:
    record(alices_account, bobs_key, 2, model="alices-model")
    record(charlies_account, charlies_key, 2, model="charlies-model")
    postings.grant(alices_account, 10**9, reference="alices gift")
    issue(alices_team, None, "Somebody's key")
    everything = "".join(opened(bob).values())
    assert "Bob's key" in everything
    for foreign in ("alices-model", "charlies-model", "alices gift", "Somebody", "charlie"):
        assert foreign not in everything


def test_it_is_sent_as_it_is_made(
    alice: User, alices_account: CreditAccount, alices_key: IssuedKey, monkeypatch: Any
) -> None:
    monkeypatch.setattr(queries, "CHUNK_ROWS", 50)
    record(alices_account, alices_key, 2000)
    chunks: Iterator[bytes] = archive(alice)
    sizes = [len(chunk) for chunk in chunks]
    assert len(sizes) > 5
    assert max(sizes) < sum(sizes) / 2


def test_exports_are_limited(alice: User, monkeypatch: Any) -> None:
    monkeypatch.setattr("portal.profile.views.EXPORTS_PER_USER", "1/h")
    browser: Client = signed_in(alice)
    assert browser.post("/settings/data/export").status_code == 200
    answer = browser.post("/settings/data/export")
    assert answer.status_code == 429
    assert "Try again in an hour" in answer.content.decode()
    assert browser.get("/settings/data/export").status_code == 405


@pytest.mark.parametrize(
    "first", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"]
)
def test_no_cell_is_a_formula(
    alice: User, alices_account: CreditAccount, alices_key: IssuedKey, first: str
) -> None:
    record(alices_account, alices_key, 1, end_user=f"{first}1+1")
    rows = list(csv.DictReader(io.StringIO(opened(alice)["usage.csv"], newline="")))
    assert rows[0]["end_user"] == f"'{first}1+1"
