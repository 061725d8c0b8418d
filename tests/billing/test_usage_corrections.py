"""Estimated usage is corrected to the upstream's: once, by a person, within the ledger's rules."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from accounts.models import AuditEntry, Membership, Role, User
from billing.ledger import postings
from billing.models import (
    ContractPrice,
    StatementLine,
    Transfer,
    UpstreamStatement,
    UsageCorrection,
    UsageRecord,
)
from billing.reconciliation import corrections, statements
from billing.reconciliation.statements import StatementError
from tests import audit
from tests.billing.conftest import broken_invariants
from tests.billing.ledger_calls import Customer, make_customer
from tests.billing.statement_helpers import (
    INPUT_NANOS,
    OUTPUT_NANOS,
    compared,
    corrected,
    line_of,
    make_price,
    serve,
)
from tests.payments.conftest import run_concurrently

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

DOLLAR = 10**9
Correction = StatementLine.Correction


@pytest.fixture
def payer() -> Customer:
    """A customer with $10."""
    return make_customer(10 * DOLLAR)


@pytest.fixture
def clerk(db: None) -> User:
    """A member of staff."""
    return User.objects.create_user("clerk@example.com", name="Casey", is_staff=True)


@pytest.fixture
def boss(db: None) -> User:
    """Another member of staff."""
    return User.objects.create_user("boss@example.com", is_staff=True)


def confirmed(statement: UpstreamStatement, user: User) -> StatementLine:
    """Return the statement's line, which the user has confirmed and Celery not yet posted."""
    assert statement.compared_at is not None
    statements.confirm(statement, user, compared_at=statement.compared_at, reason="As billed")
    return line(statement)


def line(statement: UpstreamStatement) -> StatementLine:
    return statement.lines.get()


def moved(payer: Customer) -> list[tuple[str, str, str, int]]:
    """Return the adjustments: reference, debited and credited kind, nano-dollars."""
    found = Transfer.objects.filter(customer=payer.account, kind="adjustment").order_by("pk")
    return [
        (each.reference, each.debit_account.kind, each.credit_account.kind, each.amount_nanos)
        for each in found
    ]


def test_too_high_an_estimate_is_credited_back(payer: Customer, clerk: User) -> None:
    record = serve(payer, "up-1")
    balance = payer.balances[0]

    statement = compared(clerk, [line_of("up-1", 900, 40)])
    back = 100 * INPUT_NANOS + 60 * OUTPUT_NANOS
    assert (line(statement).correction, line(statement).correction_nanos) == ("open", back)
    assert payer.balances[0] == balance, "nothing moves before a person confirms it"
    statement = corrected(statement, clerk)

    reference = f"correction:{record.pk}"
    assert moved(payer) == [(reference, "adjustments", "customer", back)]
    assert payer.balances[0] == balance + back
    assert (statement.state, line(statement).correction) == ("ready", "posted")
    found = UsageCorrection.objects.get()
    assert (found.pk, found.statement, found.line_number) == (record.pk, statement, 2)
    assert (found.charged_nanos, found.amount_nanos) == (record.charged_nanos, back)
    assert found.confirmed_by == clerk
    entry = AuditEntry.objects.get(team=payer.team, action="usage.corrected")
    assert entry.detail == {"amount": "$0.0008"}
    assert (entry.subject, entry.actor_label) == (str(record.pk), "staff: Casey")
    assert UsageRecord.objects.get(pk=record.pk).charged_nanos == record.charged_nanos


def test_too_low_an_estimate_is_charged(payer: Customer, clerk: User) -> None:
    record = serve(payer, "up-1")
    corrected(compared(clerk, [line_of("up-1", 1100, 150)]), clerk)
    more = 100 * INPUT_NANOS + 50 * OUTPUT_NANOS
    assert moved(payer) == [(f"correction:{record.pk}", "customer", "adjustments", more)]


def test_a_request_at_a_contract_price_is_corrected_at_it(payer: Customer, clerk: User) -> None:
    now = timezone.now()
    half = ContractPrice.objects.create(
        team=payer.team,
        factor_millionths=500_000,
        effective_from=now - timedelta(days=1),
        reason="a contract",
        state=ContractPrice.State.APPROVED,
        decided_at=now,
    )
    serve(payer, "right", contract=half)
    assert line(compared(clerk, [line_of("right")])).correction == "none"
    record = serve(payer, "up-1", contract=half)
    corrected(compared(clerk, [line_of("up-1", 900, 40)]), clerk)
    back = (100 * INPUT_NANOS + 60 * OUTPUT_NANOS) // 2
    assert moved(payer) == [(f"correction:{record.pk}", "adjustments", "customer", back)]


def test_no_more_is_charged_than_was_held(payer: Customer, clerk: User) -> None:
    record = serve(payer, "up-1", hold_nanos=3_500_000)
    corrected(compared(clerk, [line_of("up-1", 50_000, 8000)]), clerk)
    assert sum(each[3] for each in moved(payer)) == 3_500_000 - record.charged_nanos


def test_what_the_balance_does_not_cover_stays_open(clerk: User) -> None:
    poor = make_customer(3_500_000)
    serve(poor, "up-1", hold_nanos=3_500_000)
    postings.adjust(poor.account, -300_000, reference=f"spent {poor.account.pk}", memo="spent")
    statement = corrected(compared(clerk, [line_of("up-1", 1000, 140)]), clerk)
    assert line(statement).correction == "uncovered"
    assert moved(poor)[1:] == []
    assert not UsageCorrection.objects.exists()

    postings.grant(poor.account, DOLLAR, reference=f"more {poor.account.pk}")
    statement = corrected(statement, clerk)
    assert line(statement).correction == "posted"
    assert [each[3] for each in moved(poor)[1:]] == [40 * OUTPUT_NANOS]


def test_what_was_written_off_is_not_charged_later(clerk: User) -> None:
    poor = make_customer(2_500_000)
    record = serve(poor, "up-1", hold_nanos=2_500_000)
    assert record.written_off_nanos == 500_000
    postings.grant(poor.account, DOLLAR, reference=f"later {poor.account.pk}")
    statement = compared(clerk, [line_of("up-1", 1000, 140)])
    assert line(statement).correction == "none"
    # Below what was charged, the difference is returned.
    serve(poor, "up-2", hold_nanos=DOLLAR)
    statement = compared(clerk, [line_of("up-2", 0, 0)])
    assert line(statement).correction_nanos == 1000 * INPUT_NANOS + 100 * OUTPUT_NANOS


def test_reported_usage_and_a_right_estimate_are_not_corrected(
    payer: Customer, clerk: User
) -> None:
    serve(payer, "reported", source="upstream")
    serve(payer, "right")
    statement = compared(clerk, [line_of("reported", 1, 1), line_of("right")])
    assert set(statement.lines.values_list("correction", flat=True)) == {"none"}
    assert statement.compared_at is not None
    with pytest.raises(StatementError, match="nothing to correct"):
        statements.confirm(statement, clerk, compared_at=statement.compared_at, reason="x")


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({}, 9 - 2 - 10),
        ({"written_off_nanos": 1}, 0),  # of a late settlement: it took all that was available
        ({"source": "upstream"}, None),
        ({"source": "none"}, None),
        ({"lines": [["image", 1, 5, 1, 5]]}, None),
        ({"lines": [["cache_write", 1, 5, 1, 5]]}, None),
    ],
)
def test_only_estimated_tokens_have_a_correction(record: dict[str, Any], found: int | None) -> None:
    price = make_price(input_nanos_per_million=2 * 10**6, output_nanos_per_million=10**7)
    fields = {"source": "estimated", "charged_nanos": 9, "reserved_nanos": 99, **record}
    one_each = StatementLine(input_tokens=1, output_tokens=1)
    assert corrections.balance_change(UsageRecord(**fields), price, one_each) == found
    unknown = StatementLine(input_tokens=1)
    assert corrections.balance_change(UsageRecord(**fields), price, unknown) is None
    assert corrections.balance_change(UsageRecord(**fields), None, one_each) is None


def test_a_request_with_two_upstream_lines_of_ours_is_not_corrected(
    payer: Customer, clerk: User
) -> None:
    serve(payer, "up-1")
    serve(payer, "up-1")
    statement = compared(clerk, [line_of("up-1", 1, 1)])
    assert not statement.lines.exclude(correction="none").exists()


def test_cached_tokens_reasoning_and_the_tier_keep_their_prices(
    payer: Customer, clerk: User
) -> None:
    price = make_price(
        cached_input_nanos_per_million=100 * 10**6, request_nanos=7, factor_millionths=500_000
    )
    record = serve(payer, "up-1", price=price)
    compared_line = line(compared(clerk, [line_of("up-1", 1000, 100, cached=400)]))
    assert compared_line.correction_nanos == 400 * (INPUT_NANOS - 100) // 2
    assert {each[0] for each in record.lines} == {"input", "output", "request"}


def test_the_same_file_or_another_export_of_the_request_corrects_it_once(
    payer: Customer, clerk: User
) -> None:
    serve(payer, "up-1")
    first = corrected(compared(clerk, [line_of("up-1", 900, 40, at=None)]), clerk)
    again = compared(clerk, [line_of("up-1", 900, 40), line_of("up-2")])
    assert again.lines_repeated + again.lines_conflicting == 1
    assert again.lines.get(line_number__isnull=False).upstream_request_id == "up-2"
    with pytest.raises(StatementError, match="nothing to correct"):
        corrected(again, clerk)
    statements.compare_again(first, clerk)
    first.refresh_from_db()
    statements.process(first)
    assert line(first).correction == "posted"
    assert len(moved(payer)) == 1


@pytest.mark.django_db(transaction=True)
def test_a_line_that_is_corrected_at_once_by_many_is_corrected_once(
    payer: Customer, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements.process_statements, "delay", lambda: None)
    serve(payer, "up-1")
    found = confirmed(compared(clerk, [line_of("up-1", 900, 40)]), clerk)
    done = run_concurrently(*[lambda: corrections.correct(found.pk, clerk)] * 6)
    assert sorted(done) == [False] * 5 + [True]
    assert len(moved(payer)) == 1


@pytest.mark.django_db(transaction=True)
def test_two_lines_of_one_request_that_are_corrected_at_once_correct_it_once(
    payer: Customer, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two exports would that named the upstream's request differently."""
    monkeypatch.setattr(statements.process_statements, "delay", lambda: None)
    serve(payer, "up-1")
    one = confirmed(compared(clerk, [line_of("up-1", 900, 40)]), clerk)
    other = StatementLine.objects.get(pk=one.pk)
    other.pk, other.upstream_request_id = None, "up-1-again"
    other.save()
    ids = [one.pk, other.pk] * 3
    done = run_concurrently(
        *[lambda line_id=line_id: corrections.correct(line_id, clerk) for line_id in ids]
    )
    assert sum(done) == 1
    assert len(moved(payer)) == 1
    assert {each.correction for each in StatementLine.objects.all()} == {"posted"}


class _KilledError(Exception):
    """Stands for the end of the process."""


def test_a_process_that_dies_while_it_corrects_has_corrected_nothing(
    payer: Customer, clerk: User
) -> None:
    serve(payer, "up-1")
    statement = compared(clerk, [line_of("up-1", 900, 40)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corrections, "failpoint", _die)
        with pytest.raises(_KilledError):
            corrected(statement, clerk)
    statement.refresh_from_db()
    assert (statement.state, moved(payer)) == ("correcting", [])
    assert broken_invariants() == {}
    assert statements.process_statements() == 1
    assert len(moved(payer)) == 1


def _die(point: str) -> None:
    assert point == "after_usage_correction"
    raise _KilledError


def test_a_confirmation_is_for_what_the_person_saw(payer: Customer, clerk: User) -> None:
    serve(payer, "up-1")
    statement = compared(clerk, [line_of("up-1", 900, 40)])
    seen = statement.compared_at
    statements.compare_again(statement, clerk)
    statement.refresh_from_db()
    statements.process(statement)
    assert seen is not None
    with pytest.raises(StatementError, match="changed meanwhile"):
        statements.confirm(statement, clerk, compared_at=seen, reason="As billed")
    statement.refresh_from_db()
    with pytest.raises(StatementError, match="Enter a reason"):
        statements.confirm(statement, clerk, compared_at=statement.compared_at, reason=" ")
    assert moved(payer) == []


def test_a_worker_that_is_late_posts_nothing_that_was_not_confirmed(
    payer: Customer, clerk: User, boss: User
) -> None:
    serve(payer, "up-1")
    statement = compared(clerk, [line_of("up-1", 900, 40)])
    assert not corrections.correct(line(statement).pk, clerk)
    found = confirmed(statement, clerk)
    assert not corrections.correct(found.pk, boss)
    assert moved(payer) == []
    assert corrections.correct(found.pk, clerk)


def test_large_corrections_need_another_person_than_the_one_who_uploaded(
    payer: Customer, clerk: User, boss: User, settings: Any
) -> None:
    settings.STAFF_APPROVAL_DOLLARS = "0.0007"
    serve(payer, "up-1")
    statement = compared(clerk, [line_of("up-1", 900, 40)])
    with pytest.raises(StatementError, match="Another member of staff"):
        corrected(statement, clerk)
    assert moved(payer) == []
    corrected(statement, boss)
    assert len(moved(payer)) == 1


def test_nobody_corrects_their_own_teams_requests(payer: Customer, clerk: User) -> None:
    Membership.objects.create(user=clerk, team=payer.team, role=Role.DEVELOPER)
    serve(payer, "up-1")
    statement = corrected(compared(clerk, [line_of("up-1", 900, 40)]), clerk)
    assert (statement.state, line(statement).correction) == ("ready", "open")
    assert moved(payer) == []


def test_a_record_that_changed_after_the_confirmation_is_not_corrected(
    payer: Customer, clerk: User
) -> None:
    serve(payer, "up-1")
    statement = compared(clerk, [line_of("up-1", 900, 40)])
    statement.lines.update(input_tokens=500)
    statement = corrected(statement, clerk)
    assert line(statement).correction == "none"
    assert moved(payer) == []


def test_a_statement_that_corrected_something_stays(payer: Customer, clerk: User) -> None:
    serve(payer, "up-1")
    statement = corrected(compared(clerk, [line_of("up-1", 900, 40)]), clerk)
    with pytest.raises(StatementError, match="so it stays"):
        statements.discard(statement, clerk)
    assert UpstreamStatement.objects.filter(pk=statement.pk).exists()


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE billing_usagecorrection SET corrected_nanos = corrected_nanos + 1",
        "DELETE FROM billing_usagecorrection",
        "UPDATE billing_usagerecord SET source = 'upstream'",
    ],
)
def test_check_ledger_finds_a_correction_that_is_not_its_transfers(
    payer: Customer, clerk: User, damage: str
) -> None:
    serve(payer, "up-1")
    corrected(compared(clerk, [line_of("up-1", 900, 40)]), clerk)
    with connection.cursor() as cursor:
        cursor.execute("SAVEPOINT whole")
        cursor.execute(damage)
        assert list(broken_invariants()) == ["I4 corrections"]
        assert [check for check, _ in audit.findings(connection)] == ["correction"]
        cursor.execute("ROLLBACK TO whole")
