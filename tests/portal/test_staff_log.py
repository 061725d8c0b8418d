"""The staff log as a file: what the list shows, all of it, and nothing that a spreadsheet runs."""

import csv
import io
from urllib.parse import urlencode

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import Permission
from django.test import Client

from accounts.models import Team, User
from accounts.staff_actions import log_for_staff
from portal.console import staff as pages
from tests.cast import signed_in

pytestmark = [
    pytest.mark.django_db,
    # The tests' client reads the stream at once, and Django says so.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]

URL = "/admin/staff-log.csv"


@pytest.fixture
def clerk() -> User:
    """A member of staff who may read the staff log, and nothing else."""
    user = User.objects.create_user("clerk@example.com", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_logentry"))
    return user


@pytest.fixture
def reader(clerk: User) -> Client:
    """The clerk's browser."""
    return signed_in(clerk)


def rows(browser: Client, **query: object) -> list[dict[str, str]]:
    answer = browser.get(f"{URL}?{urlencode(query)}")
    assert answer.status_code == 200
    assert answer["Content-Disposition"] == 'attachment; filename="staff-log.csv"'
    text = b"".join(answer).decode()  # type: ignore[arg-type]
    return list(csv.DictReader(io.StringIO(text)))


def test_the_file_has_every_entry_newest_first(
    reader: Client, clerk: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_BATCH_ENTRIES", 2)
    for n in range(5):
        log_for_staff(clerk, alices_team, f"Act {n}.")
    found = rows(reader)
    assert [row["changes"] for row in found] == [f"Act {n}." for n in (4, 3, 2, 1, 0)]
    entry = LogEntry.objects.latest("pk")
    assert found[0] == {
        "time_utc": entry.action_time.isoformat(),
        "user": "clerk@example.com",
        "action": "Change",
        "type": "accounts.team",
        "object_id": str(alices_team.pk),
        "object": str(alices_team),
        "changes": "Act 4.",
    }


def test_the_file_has_what_the_list_selects(
    reader: Client, clerk: User, alice: User, alices_team: Team
) -> None:
    log_for_staff(clerk, alices_team, "By the clerk.")
    log_for_staff(alice, alices_team, "By Alice.")
    LogEntry.objects.log_actions(clerk.pk, [alice], ADDITION, "Alice added.", single_object=True)

    def changes(**query: object) -> list[str]:
        listed = reader.get(f"/admin/admin/logentry/?{urlencode(query)}")
        assert f"{URL}?{urlencode(query)}".replace("&", "&amp;") in listed.content.decode()
        return [row["changes"] for row in rows(reader, **query)]

    assert changes(user__id__exact=alice.pk) == ["By Alice."]
    assert changes(action_flag__exact=CHANGE) == ["By Alice.", "By the clerk."]
    assert changes(action_flag__exact=CHANGE, q="clerk@") == ["By the clerk."]
    assert changes(q="nothing like it") == []


def test_formulas_are_disarmed(reader: Client, clerk: User, alices_team: Team) -> None:
    alices_team.name = '=HYPERLINK("https://evil.example")'
    log_for_staff(clerk, alices_team, "@SUM(1)")
    (row,) = rows(reader)
    assert row["object"].startswith("'=")
    assert row["changes"] == "'@SUM(1)"


@pytest.mark.parametrize("query", ["user__password__startswith=a", "action_time__gte=x"])
def test_what_is_no_filter_is_an_error_and_no_file(reader: Client, query: str) -> None:
    assert reader.get(f"{URL}?{query}").status_code == 400


def test_it_takes_the_permission_to_read_the_log(clerk: User, alice: User) -> None:
    clerk.user_permissions.set(Permission.objects.filter(codename="delete_logentry"))
    assert signed_in(clerk).get(URL).status_code == 403
    assert signed_in(alice).get(URL).status_code == 302
