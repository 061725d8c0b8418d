"""The pages of sessions: a list, one session with its calls, and what would have been cheaper."""

from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from api.catalogue.snapshot import load_snapshot
from api.models import Model
from billing.models import PriceVersion
from billing.usage.sessions import session_of
from portal.usage.sessions import cheaper_model
from tests.api.contract_terms import make_model
from tests.billing.ledger_calls import Customer, make_customer
from tests.portal.serving import DOLLAR, serve

pytestmark = pytest.mark.django_db

USED = {
    "model": "alpha",
    "hold_nanos": 2 * DOLLAR,
    "input_tokens": 1_000,
    "cached_tokens": 600,
    "output_tokens": 100,
    "reasoning_tokens": 40,
}


def ago(hours: int) -> str:
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


def test_the_list_has_each_session_with_its_sums(customer: Customer, browser: Client) -> None:
    serve(customer, at=ago(3), output_nanos=2 * DOLLAR, session_id="run/1 ?", **USED)
    serve(customer, at=ago(2), output_nanos=DOLLAR, session_id="run/1 ?", **USED | {"model": "b"})
    serve(customer, at=ago(1), outcome="upstream_error", session_id="run 2")
    serve(customer, output_nanos=9)  # of no session
    serve(customer, at=ago(24 * 20), output_nanos=9, session_id="long ago")
    stranger = make_customer(10 * DOLLAR)
    serve(stranger, at=ago(1), output_nanos=9, session_id="run 2")

    rows = [row for row, _ in browser.get("/usage/sessions").context["rows"]]

    assert [(row.session_id, row.requests, row.errors) for row in rows] == [
        ("run 2", 1, 1),
        ("run/1 ?", 2, 0),
    ]
    assert (rows[1].charged_nanos, rows[1].models) == (3 * DOLLAR, ["alpha", "b"])
    assert (rows[1].input_tokens, rows[1].cached_share) == (2_000, 60)
    assert len(browser.get("/usage/sessions?days=30").context["rows"]) == 3
    older = browser.get("/usage/sessions", {"before": rows[0].last_at.isoformat()})
    assert [row.session_id for row, _ in older.context["rows"]] == ["run/1 ?"]
    assert browser.get("/usage/sessions?before=nonsense").status_code == 200


def test_a_session_has_its_calls_and_its_chart(customer: Customer, browser: Client) -> None:
    first = serve(customer, at=ago(3), output_nanos=2 * DOLLAR, session_id="run/1 ?", **USED)
    serve(customer, at=ago(2), output_nanos=DOLLAR, session_id="run/1 ?", **USED)
    serve(customer, at=ago(2), output_nanos=5, session_id="other")

    page = browser.get(f"/usage/sessions/{first.pk}")

    assert page.context["session"].charged_nanos == 3 * DOLLAR
    assert [row.charged_nanos for row, *_ in page.context["rows"]] == [DOLLAR, 2 * DOLLAR]
    assert f'href="/usage/sessions/{first.pk}"' in (
        browser.get(f"/usage/requests/{first.pk}").content.decode()
    )
    chart = browser.get("/usage", {"session": "run/1 ?", "group": "session"})
    assert chart.context["total"].charged_nanos == 3 * DOLLAR
    grouped = browser.get("/usage", {"group": "session"}).context["chart"]
    assert {(each.name, each.url) for each in grouped.series} == {
        ("run/1 ?", "/usage?group=session&session=run%2F1+%3F"),
        ("other", "/usage?group=session&session=other"),
    }


def test_another_teams_session_is_not_found(customer: Customer, browser: Client) -> None:
    stranger = make_customer(DOLLAR)
    theirs = serve(stranger, output_nanos=1, session_id="run")
    nameless = serve(customer, output_nanos=1)
    serve(customer, output_nanos=1, session_id="run")
    assert browser.get(f"/usage/sessions/{theirs.pk}").status_code == 404
    assert browser.get(f"/usage/sessions/{nameless.pk}").status_code == 404


@pytest.mark.parametrize(
    ("changes", "is_offered"),
    [
        ({}, True),
        ({"context_tokens": 1_050}, False),
        ({"max_output_tokens": 99}, False),
        ({"features": []}, False),
        ({"input_modalities": ["text"]}, False),
    ],
)
def test_a_cheaper_model_can_do_all_that_the_sessions_can(
    customer: Customer, changes: dict[str, object], is_offered: bool
) -> None:
    for name in ("alpha", "beta"):
        make_model(name)
    PriceVersion.objects.filter(product__sku="alpha").update(factor_millionths=2_000_000)
    Model.objects.update(features=["tools"], input_modalities=["text", "image"])
    Model.objects.filter(name="beta").update(**changes)
    record = serve(customer, input_nanos=2_000_000, output_nanos=800_000, session_id="run", **USED)

    session = session_of(customer.account.pk, record.pk)
    assert session is not None
    found = cheaper_model(session, load_snapshot())

    if not is_offered:
        assert found is None
        return
    assert found is not None
    # 1,000 tokens of input and 100 of output at $1 and $4 per million.
    assert (found.model, found.cost_nanos) == ("beta", 1_000_000 + 400_000)
