"""The CSV of the usage page: the same requests, streamed, exact, and without formulas."""

import csv
import io
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from billing.models import CreditAccount
from portal.ui import paging
from portal.ui.csv import guarded
from tests.billing.ledger_calls import Customer
from tests.cast import signed_in
from tests.portal.serving import serve

pytestmark = [
    pytest.mark.django_db,
    # The tests' client reads the stream at once, and Django says so.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]


def rows_of(answer: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(answer).decode())))


def test_it_has_every_request_of_the_filter_in_exact_dollars(
    alice: User, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "FIRST_BATCH_ROWS", 2)
    monkeypatch.setattr(paging, "BATCH_ROWS", 3)
    for index in range(8):
        serve(customer, output_nanos=2**index, end_user="ann", latency_ms=index)
    serve(customer, output_nanos=999)
    answer = signed_in(alice).get("/usage.csv", {"end_user": "ann"})
    assert answer.streaming
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    today = f"{timezone.now():%Y-%m-%d}"
    assert answer["Content-Disposition"].endswith(f'-{today}.csv"')
    rows = rows_of(answer)
    assert sorted(row["charged_usd"] for row in rows) == [f"0.{2**index:09d}" for index in range(8)]
    assert {row["user"] for row in rows} == {"ann"}
    assert rows[0]["time_utc"].startswith(today)
    assert rows[0]["key"] == "Alice's key"


def test_what_the_upstream_costs_is_nobody_elses_business(alice: User, customer: Customer) -> None:
    serve(customer, output_nanos=5, upstream_cost_nanos=777_777, upstream="secret-host")
    text = b"".join(signed_in(alice).get("/usage.csv")).decode()
    assert "777777" not in text
    assert "secret-host" not in text


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+cmd", "-2+3", "@SUM(A1)", "\t1", "\r=1", "\n=1", "\uff1d1", "-"]
)
def test_a_formula_becomes_a_text(alice: User, customer: Customer, text: str) -> None:
    serve(customer, output_nanos=5, end_user=text, model=text)
    (row,) = rows_of(signed_in(alice).get("/usage.csv"))
    assert row["user"] == f"'{text}"
    assert row["model"] == f"'{text}"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        (" =1+1", "' =1+1"),
        ("\t=1", "'\t'=1"),
        ("x;=1+1", "x;'=1+1"),
        ("x; @SUM(A1);\t-2", "x; '@SUM(A1);\t'-2"),
        ('";=1+1', "\";'=1+1"),
        ("a;b", "a;b"),
    ],
)
def test_a_formula_within_a_text_is_one_to_who_splits_at_semicolons(text: str, cell: str) -> None:
    assert guarded(text) == cell


def test_numbers_stay_numbers() -> None:
    assert [guarded(cell) for cell in (5, -5, "-0.000000001", "12", None, "a=b", "")] == [
        5,
        -5,
        "-0.000000001",
        "12",
        None,
        "a=b",
        "",
    ]


def test_another_team_gets_none_of_it(
    charlie: User, charlies_account: CreditAccount, customer: Customer
) -> None:
    serve(customer, output_nanos=5)
    assert rows_of(signed_in(charlie).get("/usage.csv")) == []


def test_who_is_signed_out_gets_nothing(client: Client) -> None:
    assert client.get("/usage.csv").status_code == 302
