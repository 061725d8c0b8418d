"""Upstreams' statements: imported once, compared with our records, and discarded."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from accounts.models import User
from billing.models import (
    KeySpend,
    StatementChunk,
    StatementLine,
    UpstreamStatement,
    UsageRecord,
)
from billing.reconciliation import matching, statements
from billing.reconciliation.export_file import Mapping
from billing.reconciliation.statements import StatementError
from tests.billing.ledger_calls import Customer, make_customer
from tests.billing.statement_helpers import COLUMNS, HEADER, compared, day, line_of, serve, upload
from tests.payments.conftest import run_concurrently

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

NOON = day("2026-03-15")


@pytest.fixture
def payer() -> Customer:
    """A customer with $10."""
    return make_customer(10 * 10**9)


@pytest.fixture
def clerk(db: None) -> User:
    """A member of staff."""
    return User.objects.create_user("clerk@example.com", is_staff=True)


def served(payer: Customer, upstream_id: str, hours: float = 0, **facts: Any) -> UsageRecord:
    """Serve a request that ended so many hours after the noon of the export's first day."""
    record = serve(payer, upstream_id, **({"source": "upstream"} | facts))
    at = NOON + timedelta(hours=hours)
    UsageRecord.objects.filter(pk=record.pk).update(created_at=at)
    long_ago = date(2020, 1, 1)
    KeySpend.objects.filter(key=payer.key).update(
        day=long_ago, day_nanos=0, month=long_ago, month_nanos=0
    )
    return record


def exported(upstream_id: str, hours: float = 0, *tokens: int, **facts: Any) -> str:
    return line_of(upstream_id, *tokens, at=NOON + timedelta(hours=hours), **facts)


def states(statement: UpstreamStatement) -> dict[str, str]:
    return dict(statement.lines.values_list("upstream_request_id", "state"))


def test_each_request_is_equal_different_or_missing(payer: Customer, clerk: User) -> None:
    served(payer, "same")
    served(payer, "rounded", upstream_cost_nanos=1_000_400)
    served(payer, "tokens")
    served(payer, "money")
    served(payer, "cached")
    lost = served(payer, "lost", 1)
    served(payer, "elsewhere", 1, upstream="other")
    served(payer, "before", -30)
    served(payer, "free", 1, source="none", upstream_cost_nanos=0, input_tokens=0, output_tokens=0)
    statement = compared(
        clerk,
        [
            exported("same"),
            exported("rounded"),
            exported("tokens", 0, 1000, 101),
            exported("money", cost="0.002"),
            exported("cached", cached=7),
            exported("unknown", 3),
        ],
    )
    assert states(statement) == {
        "same": "equal",
        "rounded": "equal",
        "tokens": "different",
        "money": "different",
        "cached": "different",
        "unknown": "missing_here",
        "lost": "missing_there",
    }
    assert statement.lines.get(state="missing_there").request_id == lost.pk
    assert (statement.since, statement.until) == (NOON, NOON + timedelta(hours=3))
    assert not StatementChunk.objects.exists()


def test_drift_is_summed_by_day_and_model(payer: Customer, clerk: User) -> None:
    served(payer, "a")
    served(payer, "b", 24, upstream_cost_nanos=5_000_000)
    served(payer, "c", 25)
    served(payer, "", 2, upstream_cost_nanos=77)
    statement = compared(
        clerk,
        [
            exported("a", 0, 900, 90, cost="0.0009"),
            exported("b", 24, 1000, 100, cost="0.004", model="maker-large"),
            exported("d", 26, 10, 1, cost="0.5", model="maker-large"),
        ],
    )
    days = {each["name"]: each for each in statement.drift["days"]}
    assert list(days) == ["2026-03-15", "2026-03-16"]
    assert days["2026-03-15"] == {
        "name": "2026-03-15",
        "their_requests": 1,
        "our_requests": 1,
        "their_input_tokens": 900,
        "our_input_tokens": 1000,
        "their_output_tokens": 90,
        "our_output_tokens": 100,
        "their_cost_nanos": 900_000,
        "our_cost_nanos": 1_000_000,
        "different": 1,
        "missing_here": 0,
        "missing_there": 0,
        "estimated": 0,
    }
    models = {each["name"]: each for each in statement.drift["models"]}
    assert set(models) == {"maker-small", "maker-large", "small"}
    large = models["maker-large"]
    assert (large["their_cost_nanos"], large["our_cost_nanos"]) == (504_000_000, 5_000_000)
    assert (large["different"], large["missing_here"]) == (1, 1)
    total = statement.drift["total"]
    assert (total["their_requests"], total["our_requests"]) == (3, 3)
    assert total["missing_there"] == 1
    assert statement.drift["without_id"] == {"requests": 1, "cost_nanos": 77}


def test_what_an_upstream_bills_for_an_unpaid_answer_is_compared(
    payer: Customer, clerk: User
) -> None:
    """The cost at this upstream alone, with the tokens of its lines."""
    line = ["input", 900, 10, 10**6, 9_000], ["cached_input", 100, 10, 10**6, 1_000]
    record = served(payer, "empty", source="none", input_tokens=0, output_tokens=0)
    UsageRecord.objects.filter(pk=record.pk).update(
        upstream_cost_nanos=12_000,
        cost_lines=[
            {"upstream": "other", "route_cost": 1, "amount_nanos": 2_000, "lines": [line[0]]},
            {"upstream": "maker", "route_cost": 1, "amount_nanos": 10_000, "lines": [*line]},
        ],
    )
    statement = compared(clerk, [exported("empty", 0, 1000, 0, cached=100, cost="0.00001")])
    assert states(statement) == {"empty": "equal"}
    # That row was changed by hand: the books could not prove its invented route.
    UsageRecord.objects.filter(pk=record.pk).update(cost_lines=[])


def test_the_same_file_twice_is_one_statement(payer: Customer, clerk: User) -> None:
    served(payer, "a")
    lines = [exported("a")]
    first = compared(clerk, lines)
    assert upload(clerk, lines) == first
    assert upload(clerk, lines, upstream="other") != first
    assert not first.chunks.exists()
    assert first.lines.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_file_twice_at_once_is_one_statement(clerk: User) -> None:
    found = run_concurrently(*[lambda: upload(clerk, [exported("a")])] * 4)
    assert len({statement.pk for statement in found}) == 1
    assert StatementChunk.objects.count() == 1


def test_a_request_keeps_the_figures_it_was_first_imported_with(
    payer: Customer, clerk: User
) -> None:
    served(payer, "a")
    served(payer, "b")
    first = compared(clerk, [exported("a"), exported("b"), exported("b"), exported("b", 0, 5)])
    assert (first.lines_read, first.lines_repeated, first.lines_conflicting) == (4, 1, 1)
    assert first.conflicts == [5]
    second = compared(
        clerk, [exported("a"), exported("b", 0, 9999), exported("c"), exported("", cost="0.25")]
    )
    assert (second.lines_repeated, second.lines_conflicting, second.conflicts) == (1, 1, [3])
    assert (second.lines_without_id, second.without_id_nanos) == (1, 250_000_000)
    assert states(second) == {"c": "missing_here"}
    assert first.lines.get(upstream_request_id="b").input_tokens == 1000


def test_a_file_with_a_mistake_imports_nothing_and_can_be_read_again(
    payer: Customer, clerk: User
) -> None:
    served(payer, "a")
    good = [exported(f"r{number}") for number in range(5)]
    statement = upload(clerk, [*good, exported("a").replace("1000", "lots")])
    statements.start(statement, clerk, Mapping(COLUMNS), "dollar")
    assert statements.process(statement)
    statement.refresh_from_db()
    assert statement.state == "failed"
    assert statement.error == "Line 7: “lots” is not a number of input tokens."
    assert not StatementLine.objects.exists()

    without = {name: column for name, column in COLUMNS.items() if name != "cost"}
    other = without | {"input_tokens": "cached_tokens", "cached_tokens": ""}
    statements.start(statement, clerk, Mapping(other), "dollar")
    statements.process(statement)
    statement.refresh_from_db()
    assert (statement.state, statement.error, statement.lines_read) == ("ready", "", 6)
    assert statement.drift["total"]["their_cost_nanos"] is None
    with pytest.raises(StatementError, match="read already"):
        statements.start(statement, clerk, Mapping(COLUMNS), "dollar")


def test_the_mapping_is_proposed_and_then_remembered(clerk: User) -> None:
    statement = upload(clerk, [exported("a")])
    assert statement.columns == {**COLUMNS}
    preview = statements.header_of(statement)
    assert (preview.header, len(preview.rows)) == (HEADER.split(","), 1)
    chosen = COLUMNS | {"model": "", "cost": ""}
    statements.start(statement, clerk, Mapping(chosen, 10**7, cached_is_separate=True), "cent")
    statements.process(statement)
    following = upload(clerk, [exported("b")])
    assert (following.columns, following.cost_unit, following.unit_nanos) == (chosen, "cent", 10**7)
    assert following.cached_is_separate
    elsewhere = upload(clerk, [exported("b")], upstream="other")
    assert (elsewhere.columns, elsewhere.cost_unit) == (COLUMNS, "dollar")


def test_what_ended_since_is_found_when_it_is_compared_again(payer: Customer, clerk: User) -> None:
    statement = compared(clerk, [exported("a")])
    assert states(statement) == {"a": "missing_here"}
    served(payer, "a")
    served(payer, "b")
    statements.compare_again(statement, clerk)
    assert statements.process_statements() == 1
    statement.refresh_from_db()
    assert states(statement) == {"a": "equal", "b": "missing_there"}
    statements.compare_again(statement, clerk)
    statements.process_statements()
    assert states(statement) == {"a": "equal", "b": "missing_there"}


def test_a_discarded_statement_can_be_imported_again(payer: Customer, clerk: User) -> None:
    served(payer, "a")
    statement = compared(clerk, [exported("a")])
    statements.discard(statement, clerk)
    assert not StatementLine.objects.exists()
    assert states(compared(clerk, [exported("a")])) == {"a": "equal"}


def test_a_statement_that_waits_for_celery_is_left_alone(clerk: User) -> None:
    statement = upload(clerk, [exported("a")])
    statements.start(statement, clerk, Mapping(COLUMNS), "dollar")
    with pytest.raises(StatementError, match="being worked on"):
        statements.discard(statement, clerk)
    with pytest.raises(StatementError, match="not compared yet"):
        statements.compare_again(statement, clerk)


def test_a_worker_that_fails_leaves_the_statement_to_the_next_run(
    clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    statement = upload(clerk, [exported("a")])
    statements.start(statement, clerk, Mapping(COLUMNS), "dollar")

    def fails(*_: object) -> None:
        raise OperationalError("the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(matching, "compare", fails)
        assert statements.process_statements() == 0
    statement.refresh_from_db()
    assert (statement.state, statement.lines.count()) == ("queued", 0)
    with monkeypatch.context() as patch:
        patch.setattr(matching, "compare", lambda _statement: 1 / 0)
        statements.process_statements()
    statement.refresh_from_db()
    assert statement.state == "failed"
    assert "bug" in statement.error
    statements.start(statement, clerk, Mapping(COLUMNS), "dollar")
    assert statements.process_statements() == 1


def test_uploads_that_nobody_confirmed_are_deleted(clerk: User) -> None:
    old, new = upload(clerk, [exported("a")]), upload(clerk, [exported("b")])
    kept = compared(clerk, [exported("c")])
    long_ago = timezone.now() - timedelta(days=8)
    UpstreamStatement.objects.filter(pk__in=[old.pk, kept.pk]).update(created_at=long_ago)
    statements.process_statements()
    assert set(UpstreamStatement.objects.all()) == {new, kept}


def test_files_beyond_the_limit_are_refused(clerk: User, settings: Any) -> None:
    settings.STATEMENT_MAX_BYTES = 2 * 1024 * 1024
    with pytest.raises(StatementError, match="larger than 2 MB"):
        statements.upload(clerk, "maker", "x.csv", 2 * 1024 * 1024 + 1, lambda: [b""])
    with pytest.raises(StatementError, match="The file is empty"):
        statements.upload(clerk, "maker", "x.csv", 0, lambda: [b""])
    assert not UpstreamStatement.objects.exists()


def test_a_file_of_many_chunks_is_the_file(clerk: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_CHUNK_BYTES", 64)
    monkeypatch.setattr(matching, "_COPY_LINES", 3)
    statement = compared(clerk, [exported(f"r{number}") for number in range(50)])
    assert (statement.lines_read, statement.lines.count()) == (50, 50)


def test_matching_reads_our_records_by_their_time(payer: Customer, clerk: User) -> None:
    """There is no index by upstream's id: it would slow each settlement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexdef FROM pg_indexes WHERE tablename = 'billing_usagerecord'"
            " AND indexdef LIKE '%upstream_request_id%'"
        )
        assert cursor.fetchall() == []
