"""Upgrades of the ledger's functions and tables, from the last release and back."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.db import IntegrityError, connection
from pytest_django import DjangoDbBlocker

from billing.ledger import budgets, install, postings
from billing.ledger.gate import AdmissionResult, SettlementResult
from billing.models import BudgetSpend, Transfer, UsageRecord
from tests.billing.conftest import broken_invariants
from tests.billing.ledger_calls import Customer, admit, call, make_customer, new_id, settle, top_up
from tests.billing.upgrades import (
    LAST_RELEASE,
    copy_of,
    function_definitions,
    last_release_database,
    migrate,
    upgraded_database,
)

pytestmark = pytest.mark.django_db(transaction=True)

FOLDER = Path(__file__).parent / "last_release"
# As processes of the last release call them.
TAKE_BACK = "SELECT * FROM billing_take_back(%s, %s, %s, %s, %s, %s, %s)"
REVERSE = "SELECT * FROM billing_reverse(%s, %s, %s, %s)"
COLLECT = "SELECT * FROM billing_collect(%s, %s, %s)"
POST = "SELECT code, amount_nanos, balance_nanos FROM billing_post(%s, %s, %s, %s, %s, %s, %s, %s)"


@pytest.fixture(scope="module")
def newest_functions(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> dict[str, str]:
    """The functions of a database that was made by all migrations."""
    with django_db_blocker.unblock():
        found = function_definitions()
        connection.close()
    return found


@pytest.fixture(scope="module")
def template(newest_functions: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The name of an empty database of the last release."""
    with django_db_blocker.unblock(), last_release_database() as name:
        yield name


@pytest.fixture
def last_release(template: str, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database of the last release, in the place of the tests' own."""
    with django_db_blocker.unblock(), copy_of(template):
        yield
        migrate()  # the proof is of the newest tables
        assert broken_invariants() == {}


@pytest.fixture(scope="module")
def upgraded_template(template: str, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The name of an empty database of the last release that was upgraded to this one."""
    with django_db_blocker.unblock(), upgraded_database(template) as name:
        yield name


@pytest.fixture
def upgraded(upgraded_template: str, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A database of the last release that was upgraded to this one, in the place of the tests'."""
    with django_db_blocker.unblock(), copy_of(upgraded_template):
        yield
        assert broken_invariants() == {}


def execute(statement: str, *parameters: Any) -> tuple[Any, ...]:
    """Return the row that a function answers with."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchone()


def old_row(name: str, **fields: Any) -> dict[str, Any]:
    """Return a row as a process of the last release sends it."""
    return json.loads((FOLDER / f"{name}.json").read_text()) | fields


def old_admission(customer: Customer, **fields: Any) -> dict[str, Any]:
    """Return an admission as a process of the last release sends it."""
    digests = [bytes(customer.key.digest).hex()]
    versions = {"catalogue_version": customer.catalogue_version}
    return old_row("admission", request_id=new_id(), digests=digests, **versions, **fields)


def old_settlement(customer: Customer, request_id: str, **fields: Any) -> dict[str, Any]:
    """Return a settlement of 30 nano-dollars as a process of the last release sends it."""
    ids = {"account_id": customer.account.pk, "key_id": customer.key.pk}
    return old_row("settlement", request_id=request_id, **ids, **fields)


def dispute(customer: Customer, amount: int, payment: str) -> str:
    """Have a payment disputed by a process of the last release."""
    reference = new_id()
    code, *_ = execute(
        TAKE_BACK, "clawback", reference, customer.account.pk, amount, payment, True, "Order 1"
    )
    assert code == "posted"
    return reference


# The files.


def test_a_released_file_is_never_edited():
    lines = (install.FOLDER / "released.sha256").read_text().splitlines()
    released = {name: digest for digest, name in (line.split() for line in lines)}

    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in install.FOLDER.rglob("*.sql")
        if path.name in released
    }

    assert found == released


def test_there_is_one_current_version_of_each_subject_and_at_most_that_is_not_released():
    released = (install.FOLDER / "released.sha256").read_text()
    current = {path.name for path in install.FOLDER.glob("*.sql")}
    versions: dict[str, list[int]] = {}
    for path in install.FOLDER.rglob("*.sql"):
        match = install.NAME.fullmatch(path.name)
        assert match, path
        versions.setdefault(match["subject"], []).append(int(match["version"]))
        assert path.name in current or f"  {path.name}\n" in released

    assert current == {f"{name}_v{max(found)}.sql" for name, found in versions.items()}
    assert all(sorted(found) == list(range(1, max(found) + 1)) for found in versions.values())


def test_every_version_is_installed_by_a_migration_once():
    folder = install.FOLDER.parents[1] / "migrations"
    text = "".join(path.read_text() for path in sorted(folder.glob("0*.py")))

    installed = re.findall(r'InstallFunctions\("(\w+)", (\d+)\)', text)

    names = [f"{subject}_v{version}.sql" for subject, version in installed]
    assert sorted(names) == sorted(path.name for path in install.FOLDER.rglob("*.sql"))


# The way there, and back.


def test_the_last_release_is_what_its_databases_have(last_release: None):
    recorded = json.loads((FOLDER / "functions.json").read_text())

    found = {
        name: hashlib.sha256(text.encode()).hexdigest()
        for name, text in function_definitions().items()
    }

    assert found == recorded


def test_an_upgraded_database_has_the_functions_of_a_new_one(
    upgraded: None, newest_functions: dict[str, str]
):
    assert function_definitions() == newest_functions


def test_going_back_restores_the_functions_of_the_last_release(
    last_release: None, newest_functions: dict[str, str]
):
    before = function_definitions()
    migrate()

    migrate(LAST_RELEASE)

    assert function_definitions().items() >= before.items()
    migrate()
    assert function_definitions() == newest_functions


def test_shortfalls_of_the_last_release_get_their_owner(last_release: None):
    customer, other = make_customer(), make_customer()
    refund, goodwill = new_id(), new_id()
    owed = [dispute(customer, 50, ""), dispute(customer, 60, "")]
    execute(TAKE_BACK, "refund", goodwill, other.account.pk, 70, "", True, "")
    execute(REVERSE, "clawback", owed[1], customer.account.pk, "")
    postings.top_up(other.account, 100, reference=refund)

    migrate()

    owners = Transfer.objects.filter(owner__isnull=False)
    assert sorted(owners.values_list("reference", "kind", "owner")) == sorted(
        [
            (owed[0], "receivable", customer.account.pk),
            (owed[1], "receivable", customer.account.pk),
            (owed[1], "receivable_reversal", customer.account.pk),
            (goodwill, "goodwill", other.account.pk),
        ]
    )
    postings.top_up(customer.account, 50, reference=new_id())
    assert postings.collect(customer.account, reference=owed[0]).code == "posted"
    with pytest.raises(postings.UnknownReferenceError):
        postings.collect(other.account, reference=owed[0])


def test_processes_of_the_last_release_count_in_budgets_as_well(upgraded: None):
    customer = make_customer(1000)
    before = admit(customer.ask())[0]
    budgets.set_budget(customer.team, "team", "month", 150)
    budgets.set_budget(customer.team, "session", "total", 120, key=customer.key)
    request = old_admission(customer, amount_nanos=100, minimum_nanos=100)

    (admission,) = call("admit", [request], AdmissionResult)
    (refused,) = call("admit", [request | {"request_id": new_id()}], AdmissionResult)
    call("settle", [old_settlement(customer, request["request_id"])], SettlementResult)
    settle(customer.end(before.request_id, output_nanos=60))  # open when the rules were made

    assert (admission.code, refused.code) == ("admitted", "budget_exceeded")
    spends = BudgetSpend.objects.filter(account_id=customer.account.pk)
    assert set(spends.values_list("spent_nanos", "held_nanos")) == {(30, 0)}


def test_shortfalls_of_this_release_are_known_to_the_last_one(upgraded: None):
    customer = make_customer(30)
    reference = new_id()
    postings.claw_back(customer.account, 100, reference=reference, credit=top_up("x"))

    migrate(LAST_RELEASE)
    restored = execute(REVERSE, "clawback", reference, customer.account.pk, "")

    assert restored == ("posted", 30, 70, 30)
    migrate()


# Processes of the last release on this release's functions.


def test_a_request_of_the_last_release_is_admitted_and_settled(upgraded: None):
    customer = make_customer(1000)
    admission = old_admission(customer)

    (admission,) = call("admit", [admission], dict[str, Any])
    assert (admission["code"], admission["amount_nanos"]) == ("admitted", 100)
    (receipt,) = call("settle", [old_settlement(customer, admission["request_id"])], dict[str, Any])

    assert (receipt["code"], receipt["charged_nanos"]) == ("settled", 30)
    assert customer.balances == (970, 0)


def test_a_settlement_without_a_field_is_settled(upgraded: None):
    """As one of an older process that does not know the field."""
    customer = make_customer(10_000)
    known_to_all = {"request_id", "account_id", "key_id", "price_version_id", "model", "outcome"}
    codes = {}
    for name in set(old_row("settlement")) - known_to_all:
        admission = old_admission(customer)
        call("admit", [admission], dict[str, Any])
        row = old_settlement(customer, admission["request_id"])
        del row[name]
        try:
            (receipt,) = call("settle", [row], dict[str, Any])
        except IntegrityError as error:
            codes[name] = str(error)
        else:
            codes[name] = receipt["code"]

    assert len(codes) > 20
    assert set(codes.values()) == {"settled"}, codes


def test_an_admission_without_a_field_is_admitted(upgraded: None):
    customer = make_customer(1000)
    rows = [old_admission(customer) for _ in range(3)]
    for row, name in zip(
        rows, ["minimum_nanos", "tokens", "model_requests_per_minute"], strict=True
    ):
        del row[name]

    results = call("admit", rows, dict[str, Any])

    assert [result["code"] for result in results] == ["admitted"] * 3
    assert customer.balances == (1000, 300)


def test_postings_of_the_last_release_are_made(upgraded: None):
    customer = make_customer()
    account = customer.account.pk
    paid, plan, bought, taken = (new_id() for _ in range(4))
    post = [account, "credit", "stripe_clearing", 300, "Order 1", None]
    assert execute(POST, "top_up", paid, *post) == ("posted", 300, 300)
    gift = [account, "credit", "promotional_grants", 100, "Plus", None]
    assert execute(POST, "grant", plan, *gift) == ("posted", 100, 400)
    assert execute(POST, "grant", paid, *gift) == ("posted", 100, 500)

    refunded = execute(TAKE_BACK, "refund", bought, account, 250, paid, False, "Order 1")
    assert refunded == ("posted", 250, 0, 250)
    disputed = execute(TAKE_BACK, "clawback", taken, account, 300, plan, True, "Invoice 1")
    assert disputed == ("posted", 250, 50, 0)

    assert execute(REVERSE, "clawback", taken, account, "") == ("posted", 250, 50, 250)
    assert execute(COLLECT, taken, account, "") == ("unknown", 0, 250)


def test_a_plans_dispute_of_the_last_release_takes_the_plans_gift_first(upgraded: None):
    customer = make_customer()
    postings.top_up(customer.account, 300, reference=new_id())
    plan = new_id()
    postings.grant(customer.account, 100, reference=plan)

    dispute(customer, 100, plan)

    kinds = execute(
        "SELECT array_agg(remaining_nanos) FROM billing_creditlot WHERE remaining_nanos > 0"
    )
    assert kinds == ([300],)


# Processes of this release on the last release's functions: after going back.


def test_a_request_of_this_release_is_admitted_and_settled_by_the_last_ones_functions(
    last_release: None,
):
    customer = make_customer(1000)
    ask = customer.ask()
    more = {"field_to_come": {"of": ["any", "kind"]}}
    row = json.loads(msgspec.json.encode(ask)) | more
    (admission,) = call("admit", [row], dict[str, Any])
    assert admission["code"] == "admitted"

    end = json.loads(msgspec.json.encode(customer.end(ask, output_nanos=30))) | more
    (receipt,) = call("settle", [end], dict[str, Any])

    assert (receipt["code"], receipt["charged_nanos"]) == ("settled", 30)


def test_a_request_of_the_last_release_has_no_lines_and_one_of_this_release_has(upgraded: None):
    customer = make_customer(1000)
    admission = old_admission(customer)
    call("admit", [admission], dict[str, Any])
    call("settle", [old_settlement(customer, admission["request_id"])], dict[str, Any])
    ask = customer.admitted()
    lines = [["output", 3, 10_000_000, 1_000_000, 30]]
    settle(customer.end(ask, output_nanos=30, lines=lines))

    kept = UsageRecord.objects.in_bulk([admission["request_id"], ask.request_id]).values()

    assert sorted(record.lines for record in kept) == [[], lines]


def test_fields_to_come_are_no_reason_to_refuse_a_row(upgraded: None):
    customer = make_customer(1000)
    admission = old_admission(customer, field_to_come=1)
    (admission,) = call("admit", [admission], dict[str, Any])
    row = old_settlement(customer, admission["request_id"], field_to_come="x")
    (receipt,) = call("settle", [row], dict[str, Any])

    assert (admission["code"], receipt["code"]) == ("admitted", "settled")


def test_this_releases_requests_are_served_after_the_upgrade(upgraded: None):
    customer = make_customer(1000)
    ask = customer.ask()
    assert admit(ask)[0].code == "admitted"
    assert settle(customer.end(ask, output_nanos=30))[0].code == "settled"
