"""A team's usage over the management API."""

import pytest

from accounts.models import User
from billing.ledger import postings
from billing.models import CreditAccount
from tests.api.manage.conftest import Caller
from tests.api.operations.test_account import customer_of
from tests.cast import IssuedKey, issue
from tests.portal.serving import serve

pytestmark = pytest.mark.django_db


def test_a_management_key_sees_its_teams_usage_by_key_and_member(
    as_manager: Caller, alices_account: CreditAccount, alices_key: IssuedKey, alice: User
) -> None:
    postings.grant(alices_account, 10**9, reference="a dollar")
    mine = customer_of(alices_account, alices_key.key)
    makers_less = issue(alices_account.team, None, "robot").key
    serve(mine, output_nanos=5)
    serve(mine, output_nanos=6, outcome="upstream_error")
    serve(customer_of(alices_account, makers_less), output_nanos=7)

    def costs(query: str) -> list[tuple[object, int]]:
        data = as_manager("GET", f"/usage?interval=none&{query}").data["data"]
        return [(next(iter(row.values())), row["cost_nanos"]) for row in data]

    by_key = as_manager("GET", "/usage?interval=none&group_by=key").data["data"]
    assert [(row["key"], row["key_name"], row["cost_nanos"], row["errors"]) for row in by_key] == [
        (mine.key.pk, mine.key.name, 11, 1),
        (makers_less.pk, "robot", 7, 0),
    ]
    by_member = as_manager("GET", "/usage?interval=none&group_by=member").data["data"]
    assert [(row["member"], row["cost_nanos"]) for row in by_member] == [
        (alice.email, 11),
        (None, 7),
    ]
    assert costs(f"key={makers_less.pk}") == [("usage", 7)]
    assert costs(f"member={alice.email}") == [("usage", 11)]
    assert costs("member=nobody@example.com") == []
    assert costs("status=error") == [("usage", 6)]


def test_another_teams_usage_is_never_seen(
    as_manager: Caller, charlies_team, alices_account: CreditAccount
) -> None:
    account = postings.open_account(charlies_team)
    postings.grant(account, 10**9, reference="charlies dollar")
    theirs = customer_of(account, issue(charlies_team, None).key)
    serve(theirs, output_nanos=5)

    assert as_manager("GET", "/usage").data["total"]["requests"] == 0
    assert as_manager("GET", f"/usage?key={theirs.key.pk}").status_code == 404
    assert as_manager("GET", f"/usage?team={charlies_team.slug}").status_code == 404


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("start=2026-01-02&end=2026-01-01", "end"),
        ("start=2024-01-01&end=2026-01-01", "start"),
        ("interval=hour&start=2026-01-01&end=2026-03-01", "start"),
        ("group_by=session&start=2026-01-01&end=2026-03-01", "start"),
        ("zone=Asia/Kolkata&start=2026-01-01&end=2026-03-01", "start"),
        ("zone=Middle/Earth", "zone"),
        ("group_by=model,model", "group_by"),
        ("end=0001-01-01", "end"),
        ("start=yesterday", "start"),
        ("limit=0", "limit"),
        ("model=a%00", "model"),
        ("color=red", "color"),
    ],
)
def test_a_report_that_can_not_be_made_says_which_parameter(
    as_manager: Caller, query: str, param: str
) -> None:
    answer = as_manager("GET", f"/usage?{query}")
    assert (answer.status_code, answer.data["error"]["param"]) == (400, param)
