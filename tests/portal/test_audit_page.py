"""The audit log: newest first, filtered, paged along an index."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEntry, Team
from portal.team.queries import AUDIT_PAGE_ROWS, AuditFilter, audit_page

pytestmark = pytest.mark.django_db


def write(team: Team, count: int, actor: str = "alice@example.com", action: str = "key.created"):  # type: ignore[no-untyped-def]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_auditentry"
            " (team_id, actor_label, action, subject, detail, created_at)"
            # Some at the same moment.
            " SELECT %s, %s, %s, %s || ' ' || number, '{}', %s + number / 3 * interval '1 second'"
            " FROM generate_series(0, %s - 1) number ORDER BY number",
            [team.pk, actor, action, action, timezone.now(), count],
        )


def subjects(page: str) -> list[str]:
    return re.findall(r'<td class="subject"><bdi>(.*?)</bdi>', page)


def test_entries_are_paged_forth_and_back_without_gap(
    browser: Client, alices_team: Team, charlies_team: Team
) -> None:
    count = 2 * AUDIT_PAGE_ROWS + 7
    write(alices_team, count)
    write(charlies_team, 3)
    seen: list[str] = []
    path = "/team/audit"
    pages = []
    while path:
        page = browser.get(path).content.decode()
        pages.append(subjects(page))
        seen += pages[-1]
        older = re.search(r'rel="next" href="([^"]+)"', page)
        newer = re.search(r'rel="prev" href="([^"]+)"', page)
        last_newer = newer
        path = f"/team/audit{older[1]}" if older else ""
    assert seen == [f"key.created {number}" for number in reversed(range(count))]
    assert last_newer is not None
    back = browser.get(f"/team/audit{last_newer[1]}").content.decode()
    assert subjects(back) == pages[1]


def test_a_full_last_page_offers_no_older_one(browser: Client, alices_team: Team) -> None:
    write(alices_team, AUDIT_PAGE_ROWS)
    page = browser.get("/team/audit").content.decode()
    assert 'rel="next"' not in page
    assert 'rel="prev"' not in page


def test_filters_by_action_and_actor_stay_on_the_next_page(
    browser: Client, alices_team: Team
) -> None:
    write(alices_team, AUDIT_PAGE_ROWS + 1, action="key.revoked")
    write(alices_team, 5, actor="bob@example.com", action="key.revoked")
    write(alices_team, 5)
    page = browser.get("/team/audit?action=key.revoked&actor=alice@example.com").content.decode()
    assert len(subjects(page)) == AUDIT_PAGE_ROWS
    older = re.search(r'rel="next" href="([^"]+)"', page)[1].replace("&amp;", "&")
    page = browser.get(f"/team/audit{older}").content.decode()
    assert subjects(page) == ["key.revoked 0"]
    assert '<option value="key.revoked" selected>' in page
    assert 'value="alice@example.com"' in page


def test_nothing_found_says_so(browser: Client) -> None:
    assert "No entries yet" in browser.get("/team/audit").content.decode()
    assert "No matching entries" in browser.get("/team/audit?action=key.created").content.decode()


@pytest.mark.parametrize(
    "query",
    [
        *("before=x", "before=-1", "before=" + "9" * 19, "before=%D9%A3"),
        *("after=" + "9" * 30, "actor=%00", "action=%27"),
    ],
)
def test_any_query_is_answered(browser: Client, alices_team: Team, query: str) -> None:
    write(alices_team, 2)
    assert browser.get(f"/team/audit?{query}").status_code == 200


@pytest.mark.parametrize("place", ["newest", "before", "after", "action", "actor"])
@pytest.mark.parametrize("is_between_others", [True, False])
def test_a_page_reads_few_rows_of_a_long_log(
    alices_team: Team, charlies_team: Team, place: str, is_between_others: bool
) -> None:
    write(charlies_team, 4000)
    write(alices_team, 1, action="rare", actor="rare@example.com")
    write(alices_team, 2000)
    if is_between_others:
        write(charlies_team, 4000)
    ids = list(AuditEntry.objects.filter(team=alices_team).order_by("id").values_list("id"))
    chosen = {
        "newest": AuditFilter(),
        "before": AuditFilter(before=ids[1000][0]),
        "after": AuditFilter(after=ids[0][0]),
        "action": AuditFilter(action="rare"),
        "actor": AuditFilter(actor="rare@example.com"),
    }[place]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE accounts_auditentry")
    plans: list[Any] = []

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "accounts_auditentry" in sql:
            with connection.connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
                plans.append(cursor.fetchone()[0][0]["Plan"])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        audit_page(alices_team, chosen)
    assert max(map(rows_read, plans)) <= 2 * (AUDIT_PAGE_ROWS + 1)


def rows_read(plan: dict[str, Any]) -> int:
    """Return the most rows that a step of the plan has read, those it threw away included."""
    mine = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return int(max([mine, *(rows_read(step) for step in plan.get("Plans", []))]))
