"""The statement: opening, every transfer, closing, and a sum that is checked."""

import csv
import io
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Membership, Role, Team, User
from billing.ledger import postings
from billing.models import CreditAccount, Transfer
from portal.statement import presenters
from tests.billing.ledger_calls import top_up
from tests.cast import IssuedKey, signed_in
from tests.portal.serving import DOLLAR, book, customer_of, serve

pytestmark = [
    pytest.mark.django_db,
    # The tests' client reads the stream at once, and Django says so.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]
HOLDS = "Verified: all transfers were added up"
HOLDS_NOT = "The totals do not match."
MARCH = {"month": "own", "first": "2026-03-01", "last": "2026-03-31"}
KINDS = Transfer.Kind


@pytest.fixture(autouse=True)
def _in_june(monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime(2026, 6, 10, 12, tzinfo=UTC)
    monkeypatch.setattr(timezone, "now", lambda: now)


@pytest.fixture
def account(alices_account: CreditAccount) -> CreditAccount:
    """Alice's account, opened in January, with a known history."""
    opened_at = datetime(2026, 1, 5, tzinfo=UTC)
    CreditAccount.objects.filter(pk=alices_account.pk).update(created_at=opened_at)
    for at, kind, nanos, memo in [
        ("2026-01-05T10:00:00+00:00", KINDS.GRANT, 5 * DOLLAR, "Welcome"),
        ("2026-02-28T23:59:59.999999+00:00", KINDS.USAGE, -1, ""),
        ("2026-03-01T00:00:00+00:00", KINDS.USAGE, -20, ""),
        ("2026-03-01T09:00:00+00:00", KINDS.USAGE, -300, ""),
        ("2026-03-01T12:00:00+00:00", KINDS.TOP_UP, 20 * DOLLAR, ""),
        ("2026-03-01T18:00:00+00:00", KINDS.USAGE, -4000, ""),
        ("2026-03-29T03:30:00+02:00", KINDS.USAGE, -50_000, ""),  # as summer time began
        ("2026-03-30T01:00:00+02:00", KINDS.ADJUSTMENT, -DOLLAR, "A correction"),  # the 29th
        ("2026-03-30T08:00:00+00:00", KINDS.REFUND, -2 * DOLLAR, ""),
        ("2026-03-31T23:59:59.999999+00:00", KINDS.CLAWBACK, -3 * DOLLAR, "Dispute"),
        ("2026-04-01T00:00:00+00:00", KINDS.ADJUSTMENT, 7, "Sorry"),
    ]:
        references = {"reference": f"00000000-0000-7000-8000-{abs(nanos):012d}"}
        book(alices_account, at, kind, nanos, memo=memo, **references)
    return alices_account


def statement_html(browser: Client, **query: str) -> str:
    answer = browser.get("/statement", query)
    assert answer.status_code == 200
    return re.sub(r"\s+", " ", answer.content.decode())


def lines_of(page: str) -> list[tuple[str, str, str]]:
    """Return the lines' times, amounts and balances."""
    rows = re.findall(r"<tr> <th.*?</tr>", page.partition("statement-lines")[2])
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]
    return [(row[0], row[2], row[3]) for row in cells]


def figures_of(page: str) -> list[str]:
    return re.findall(r'stat-note mono">([^<]+)<', page)


def test_a_period_goes_from_balance_to_balance(browser: Client, account: CreditAccount) -> None:
    page = statement_html(browser, **MARCH)
    # 5 - 0.000000001; 20; 0.00005432 + 6; their sum.
    assert figures_of(page) == [
        "$4.999999999",
        "$20.000000000",
        "$6.000054320",
        "$18.999945679",
    ]
    headlines = re.findall(r"<dt>[^<]+</dt><dd>([^<]+)</dd>", page)
    assert headlines == ["$4.99", "$20.00", "$6.00", "$18.99"], "does not add up as shown"
    assert HOLDS in page
    assert lines_of(page) == [
        ("2026-03-01", "-$0.000000320", "$4.999999679"),
        ("2026-03-01 12:00:00 UTC", "+$20.000000000", "$24.999999679"),
        ("2026-03-01", "-$0.000004000", "$24.999995679"),
        ("2026-03-29", "-$0.000050000", "$24.999945679"),
        ("2026-03-29 23:00:00 UTC", "-$1.000000000", "$23.999945679"),
        ("2026-03-30 08:00:00 UTC", "-$2.000000000", "$21.999945679"),
        ("2026-03-31 23:59:59 UTC", "-$3.000000000", "$18.999945679"),
    ]
    for words in ("Credits bought", "Adjustment", "A correction", "Refund", "Disputed payment"):
        assert words in page


@pytest.mark.parametrize(
    ("kind", "nanos", "words"),
    [
        (KINDS.REFUND_REVERSAL, DOLLAR, "Failed refund, returned"),
        (KINDS.CLAWBACK_REVERSAL, DOLLAR, "Dispute resolved in your favor"),
        (KINDS.COLLECTION, -DOLLAR, "Debt from a disputed payment"),
        (KINDS.EXPIRY, -DOLLAR, "Credits expired"),
    ],
)
def test_what_is_given_back_has_words_of_its_own(
    browser: Client, account: CreditAccount, kind: str, nanos: int, words: str
) -> None:
    book(account, "2026-06-01T00:00:00+00:00", kind, nanos, reference="one", memo="Order 1234")
    page = statement_html(browser, month="2026-06")
    assert f'{words} <span class="quiet" dir="auto" translate="no">Order 1234</span>' in page
    text = b"".join(browser.get("/statement.csv", {"month": "2026-06"})).decode()
    assert f",{kind},one,Order 1234," in text


def test_every_transfer_is_shown_on_demand(browser: Client, account: CreditAccount) -> None:
    page = statement_html(browser, **MARCH, by="transfer")
    amounts = [amount for _, amount, _ in lines_of(page)]
    assert amounts[:4] == ["-$0.000000020", "-$0.000000300", "+$20.000000000", "-$0.000004000"]
    assert len(amounts) == 8
    assert lines_of(page)[-1][2] == "$18.999945679"
    assert HOLDS in page


@pytest.mark.parametrize(
    ("month", "expected"),
    [
        ("2026-01", ["$0.000000000", "$5.000000000", "$0.000000000", "$5.000000000"]),
        ("2026-02", ["$5.000000000", "$0.000000000", "$0.000000001", "$4.999999999"]),
        ("2026-03", ["$4.999999999", "$20.000000000", "$6.000054320", "$18.999945679"]),
        ("2026-04", ["$18.999945679", "$0.000000007", "$0.000000000", "$18.999945686"]),
        ("2026-05", ["$18.999945686", "$0.000000000", "$0.000000000", "$18.999945686"]),
    ],
)
def test_each_months_closing_balance_opens_the_next(
    browser: Client, account: CreditAccount, month: str, expected: list[str]
) -> None:
    page = statement_html(browser, month=month)
    assert figures_of(page) == expected
    assert HOLDS in page


def test_a_period_without_transfers_says_so(browser: Client, account: CreditAccount) -> None:
    page = statement_html(browser, month="2026-05")
    assert "No transfers in this period" in page
    assert lines_of(page) == []


def test_an_account_without_transfers_has_a_statement_of_nothing(
    browser: Client, alices_account: CreditAccount
) -> None:
    CreditAccount.objects.update(created_at=timezone.now())
    page = statement_html(browser)
    assert figures_of(page) == ["$0.000000000"] * 4
    assert HOLDS in page


def test_a_team_without_an_account_has_no_statement(alice: User) -> None:
    browser = signed_in(alice)
    assert "No account yet" in statement_html(browser)
    assert browser.get("/statement.csv").status_code == 302


@pytest.mark.parametrize("month", ["2026-03", "2026-04"])
def test_a_sum_that_does_not_hold_is_said_loudly(
    browser: Client, alices_account: CreditAccount, month: str
) -> None:
    CreditAccount.objects.update(created_at=datetime(2026, 3, 1, tzinfo=UTC))
    book(alices_account, "2026-03-05T00:00:00Z", KINDS.TOP_UP, 5 * DOLLAR, balance_nanos=6 * DOLLAR)
    page = statement_html(browser, month=month)
    assert HOLDS_NOT in page
    assert HOLDS not in page


def test_what_the_ledger_itself_writes_adds_up(
    browser: Client, alices_account: CreditAccount, alices_key: IssuedKey
) -> None:
    customer = customer_of(alices_account, alices_key, 5 * DOLLAR)
    for cost in (5, 70):
        serve(customer, output_nanos=cost)
    postings.top_up(alices_account, DOLLAR, reference="top-up")
    serve(customer, output_nanos=900)
    postings.adjust(alices_account, -3, reference="adjustment", memo="Rounding")
    postings.refund(alices_account, DOLLAR, reference="refund", credit=top_up("top-up"))
    postings.claw_back(alices_account, 10 * DOLLAR, reference="dispute", credit=top_up("top-up"))
    now = datetime.now(UTC)
    page = statement_html(browser, month="own", first=f"{now:%Y-%m-%d}", last=f"{now:%Y-%m-%d}")
    assert HOLDS in page
    assert figures_of(page)[3] == "$0.000000000"
    assert [amount for _, amount, _ in lines_of(page)] == [
        "+$5.000000000",
        "-$0.000000075",
        "+$1.000000000",
        "-$0.000000900",
        "-$0.000000003",
        "-$1.000000000",
        "-$4.999999022",
    ]


def test_pages_of_transfers_go_on_where_the_last_ended(
    browser: Client, account: CreditAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lines_of(statement_html(browser, **MARCH, by="transfer"))
    monkeypatch.setattr(presenters, "PAGE_ROWS", 3)
    query: dict[str, str] = {**MARCH, "by": "transfer"}
    found, page = [], statement_html(browser, **query)
    assert "Earlier" not in page
    while True:
        found += lines_of(page)
        later = re.search(r'rel="next" href="([^"]+)"', page)
        if later is None:
            break
        page = re.sub(r"\s+", " ", browser.get(later[1].replace("&amp;", "&")).content.decode())
    assert found == whole
    assert "Earlier" in page


def test_pages_of_days_go_on_where_the_last_ended(
    browser: Client, account: CreditAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lines_of(statement_html(browser, **MARCH))
    monkeypatch.setattr(presenters, "DAY_ROWS", 4)
    assert lines_of(statement_html(browser, **MARCH)) == whole[:4]
    assert lines_of(statement_html(browser, **MARCH, start="4")) == whole[4:]
    assert lines_of(statement_html(browser, **MARCH, start="x")) == whole[:4]
    assert lines_of(statement_html(browser, **MARCH, start="9" * 18)) == whole[-1:]


@pytest.mark.parametrize("by", ["day", "transfer"])
def test_the_csv_has_all_lines_between_the_balances(
    browser: Client, account: CreditAccount, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billing.usage.statement.BATCH_ROWS", 3)
    answer = browser.get("/statement.csv", {**MARCH, "by": by})
    assert answer["Content-Disposition"].endswith('"statement-2026-03-01-2026-03-31.csv"')
    rows = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    assert (rows[0]["kind"], rows[0]["balance_usd"]) == ("opening balance", "4.999999999")
    assert (rows[-1]["kind"], rows[-1]["balance_usd"]) == ("closing balance", "18.999945679")
    lines = rows[1:-1]
    assert len(lines) == {"day": 7, "transfer": 8}[by]
    assert sum(int(line["transfers"]) for line in lines) == 8
    nanos = [int(line["amount_usd"].replace(".", "")) for line in lines]
    assert sum(nanos) == 20 * DOLLAR - 6 * DOLLAR - 54_320
    assert lines[-1]["balance_usd"] == "18.999945679"


def test_a_memo_that_is_a_formula_becomes_a_text(
    browser: Client, alices_account: CreditAccount
) -> None:
    CreditAccount.objects.update(created_at=datetime(2026, 6, 1, tzinfo=UTC))
    hostile = '=HYPERLINK("http://x")<script>alert(1)</script>'
    book(alices_account, "2026-06-02T00:00:00Z", KINDS.GRANT, 5, memo=hostile)
    text = b"".join(browser.get("/statement.csv")).decode()
    (line,) = list(csv.DictReader(io.StringIO(text)))[1:-1]
    assert line["memo"] == f"'{hostile}"
    page = statement_html(browser)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"month": "own"}, "Choose a day."),
        ({"month": "2025-01"}, "Select a valid choice"),
        ({"month": "own", "first": "2026-03-02", "last": "2026-03-01"}, "on or after the first"),
        ({"by": "year"}, "Select a valid choice"),
    ],
)
def test_what_cannot_be_asked_is_said_beside_its_field(
    browser: Client, account: CreditAccount, query: dict[str, str], message: str
) -> None:
    answer = browser.get("/statement", query)
    assert answer.status_code == 400
    assert message in answer.content.decode()
    assert browser.get("/statement.csv", query).status_code == 302


@pytest.mark.parametrize(
    ("role", "status"),
    [(Role.OWNER, 200), (Role.ADMIN, 200), (Role.BILLING, 200), (Role.DEVELOPER, 403)],
)
def test_only_who_may_see_billing_sees_it(
    bob: User, alices_team: Team, account: CreditAccount, role: str, status: int
) -> None:
    Membership.objects.filter(user=bob, team=alices_team).update(role=role)
    browser = signed_in(bob)
    session = browser.session
    session["team"] = alices_team.slug
    session.save()
    assert browser.get("/statement").status_code == status
    assert browser.get("/statement.csv").status_code == status


def test_another_teams_transfers_are_not_in_it(
    charlie: User, charlies_account: CreditAccount, account: CreditAccount
) -> None:
    CreditAccount.objects.filter(pk=charlies_account.pk).update(created_at=account.created_at)
    page = statement_html(signed_in(charlie), **MARCH)
    assert figures_of(page) == ["$0.000000000"] * 4
    assert lines_of(page) == []


def test_who_is_signed_out_is_asked_to_sign_in(client: Client) -> None:
    assert client.get("/statement").status_code == 302


@pytest.mark.parametrize("by", ["day", "transfer"])
def test_it_takes_at_most_fifteen_queries(
    browser: Client, account: CreditAccount, django_assert_max_num_queries: Any, by: str
) -> None:
    with django_assert_max_num_queries(15):
        browser.get("/statement", {**MARCH, "by": by})
