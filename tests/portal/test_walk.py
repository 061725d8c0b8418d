"""A walk over the whole URL map: who gets what with the objects of Alice's team in the address."""

from collections.abc import Iterator
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client

from accounts.models import Membership, Role, Team, User
from portal.models import ChatPreference
from tests.cast import member
from tests.portal.filled import COST_NANOS, GRANT_NANOS, Filled, fill
from tests.portal.keys_pages import load_catalogue
from tests.portal.url_map import LOGIN, METHODS, PAGES, Page, address, addresses
from tests.support.sampling import half_of

pytestmark = [
    pytest.mark.django_db,
    # The test's client is synchronous, the service is not.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous"),
]

MARK = "alices-mark"
PASSWORD = "correct horse battery"
REFUSALS = {LOGIN, 401, 403, 404}


class Walker:
    """A browser of somebody, in which each visit begins as it was when they signed in."""

    def __init__(self, user: User | None = None, team: Team | None = None) -> None:
        self._team = team
        self._cookies: dict[str, str] = {}
        if user is None:
            return
        client = Client()
        answer = client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
        assert answer.status_code == 302
        client.post("/accounts/reauthenticate/", {"password": PASSWORD})
        if team is not None:
            client.post("/team/switch", {"team": team.slug})
        self._cookies = {settings.SESSION_COOKIE_NAME: client.session.session_key or ""}

    def ask(self, method: str, path: str, *, strict: bool = False) -> tuple[int | str, str]:
        """Return the answer's status (LOGIN for a redirect there) and its text.

        What the request does is undone. `strict` asks for CSRF tokens, and has none.
        """
        client = Client(enforce_csrf_checks=strict)
        client.cookies.load(self._cookies)
        team = self._team.slug if self._team else ""
        if team and path.startswith("/api/manage/"):
            path = f"{path}?team={team}"
        with transaction.atomic():
            answer: Any = client.generic(method, path, headers={"x-team": team})
            text = _text_of(answer)
            transaction.set_rollback(True)
        is_login = answer.status_code == 302 and "/login/" in answer["Location"]
        return LOGIN if is_login else answer.status_code, text


def _text_of(answer: HttpResponseBase) -> str:
    content = b"".join(answer) if answer.streaming else answer.content  # type: ignore[attr-defined]
    return content.decode(errors="replace")


@pytest.fixture
def walkers(alice: User, alices_team: Team, bob: User, charlie: User) -> dict[str, Walker]:
    """The people of `Page`, signed in."""
    billing, _ = member("dora@example.com", None, "Dora")
    Membership.objects.create(user=billing, team=alices_team, role=Role.BILLING)
    nobody, _ = member("nobody@example.com", None, "Nobody")
    nobody.memberships.all().delete()
    for user in (alice, bob, billing, charlie, nobody):
        user.set_password(PASSWORD)
        user.save()
        ChatPreference.objects.create(user=user, stores_conversations=True)
    EmailAddress.objects.update(verified=True)
    return {
        "owner": Walker(alice, alices_team),
        "stranger": Walker(),
        "outsider": Walker(charlie, charlie.teams.get()),
        "developer": Walker(bob, alices_team),
        "billing": Walker(billing, alices_team),
        "nobody": Walker(nobody),
    }


@pytest.fixture
def filled(
    walkers: dict[str, Walker], alice: User, alices_team: Team, monkeypatch: pytest.MonkeyPatch
) -> Filled:
    """Alice's team with the mark in all that it names."""
    load_catalogue(monkeypatch)
    return fill(alice, alices_team, MARK, f"{MARK} failed")


def visits(filled: Filled, sample: str) -> Iterator[tuple[str, str, Page]]:
    """Yield every address with Alice's objects in it: name, path, page. Outside CI, half of them,
    which `sample` chooses.
    """
    for name, page in half_of(sample, list(PAGES.items())):
        yield name, address(name, filled.arguments), page


def test_every_address_has_its_line_in_the_map() -> None:
    assert set(PAGES) == set(addresses())


@pytest.mark.parametrize(
    "person", ["owner", "stranger", "outsider", "developer", "billing", "nobody"]
)
def test_everybody_gets_what_the_map_says(
    filled: Filled, walkers: dict[str, Walker], person: str
) -> None:
    wrong = []
    for name, path, page in visits(filled, person):
        expected = getattr(page, person)
        methods = page.methods.split()
        for method in methods if expected in REFUSALS else methods[:1]:
            got, _ = walkers[person].ask(method, path)
            if got != expected:
                wrong.append(f"{method} {name}: {got}, not {expected}")
    assert wrong == []


def test_nothing_of_a_team_is_on_what_another_team_gets(
    filled: Filled, walkers: dict[str, Walker], alice: User
) -> None:
    marks = {
        *(MARK, alice.email, str(filled.record.pk), f"{filled.team.pk}@example.com"),
        *(f"{COST_NANOS / 1e9:.2f}", str(COST_NANOS), f"{GRANT_NANOS / 1e9:,.2f}"),
        *(str(GRANT_NANOS // 10**9), f"…{filled.key.last_four}"),
    }
    _, own = walkers["owner"].ask("GET", "/usage")
    assert MARK in own
    leaks = []
    for name, path, page in visits(filled, "leaks"):
        if name == "invitation":  # the token opens it, and to whom it was sent is told
            continue
        for method in page.methods.split():
            _, text = walkers["outsider"].ask(method, path)
            shown = text.replace(path, "")  # a page that is not there may name its address
            leaks += [f"{method} {name}: {mark}" for mark in marks if mark in shown]
    assert leaks == []


def test_other_methods_are_refused(filled: Filled, walkers: dict[str, Walker]) -> None:
    wrong = []
    for name, path, page in visits(filled, "other methods"):
        if page.is_library:  # allauth's views redirect first, and take PUT for POST
            continue
        for method in set(METHODS) - set(page.methods.split()):
            got, _ = walkers["owner"].ask(method, path)
            if got != 405:
                wrong.append(f"{method} {name}: {got}")
    assert wrong == []


def test_nothing_is_done_without_a_csrf_token(filled: Filled, walkers: dict[str, Walker]) -> None:
    wrong = []
    for name, path, page in visits(filled, "CSRF"):
        if page.is_signed:
            continue
        for method in set(page.methods.split()) - {"GET"}:
            got, text = walkers["owner"].ask(method, path, strict=True)
            if got != 403 or "csrf" not in text.lower():
                wrong.append(f"{method} {name}: {got}")
            got, _ = walkers["stranger"].ask(method, path, strict=True)
            if got not in (401, 403):
                wrong.append(f"signed out: {method} {name}: {got}")
    assert wrong == []
