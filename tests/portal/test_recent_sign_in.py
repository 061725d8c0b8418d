"""What is worth more than an open session asks for the password again."""

from html import escape
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.test import Client

from accounts.models import ApiKey, Invitation, Role, Team, User
from tests.billing.ledger_calls import Customer
from tests.cast import IssuedKey, note_sign_in, signed_in
from tests.portal.keys_pages import URL, new_form, plaintexts

pytestmark = [
    pytest.mark.django_db,
    # The test's client is synchronous, the service is not.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous"),
]

PASSWORD = "alices secret"
ASKS = "/accounts/reauthenticate/"


@pytest.fixture
def stale(alice: User) -> Client:
    """A browser in which Alice signed in an hour ago."""
    browser = signed_in(alice)
    note_sign_in(browser, alice, seconds_ago=3600)
    return browser


def test_a_new_key_asks_first_and_then_goes_on(alice: User, alices_team: Team) -> None:
    stale = signed_in(alice)
    form = new_form(stale)
    note_sign_in(stale, alice, seconds_ago=3600)
    for answer in (stale.get(f"{URL}/new"), stale.post(f"{URL}/new", form)):
        assert answer["Location"].startswith(ASKS)
    wrong = stale.post(answer["Location"], {"password": "wrong"})
    assert wrong.status_code == 200
    assert not ApiKey.objects.exists()
    made = stale.post(answer["Location"], {"password": PASSWORD})
    assert made.status_code == 200
    assert len(plaintexts(made)) == 1
    assert ApiKey.objects.get().name == "CI"
    assert stale.get(f"{URL}/new").status_code == 200


def test_rotating_a_key_asks_first(stale: Client, alices_key: IssuedKey) -> None:
    answer = stale.post(f"/settings/apikeys/{alices_key.key.pk}/rotate", {"grace_seconds": "0"})
    assert answer["Location"].startswith(ASKS)
    assert ApiKey.objects.count() == 1


def test_an_export_asks_first_and_is_given_then(stale: Client) -> None:
    answer = stale.post("/settings/data/export")
    assert answer["Location"].startswith(ASKS)
    given = stale.post(answer["Location"], {"password": PASSWORD})
    assert given["Content-Type"] == "application/zip"


@pytest.mark.parametrize(
    ("path", "query"),
    [("/usage", {"period": "30d", "end_user": "ann"}), ("/statement", {"by": "day"})],
)
def test_a_csv_file_asks_first_and_its_page_then_begins_the_download(
    stale: Client, customer: Customer, path: str, query: dict[str, str]
) -> None:
    answer = stale.get(f"{path}.csv", query)
    assert answer["Location"].startswith(ASKS)
    page_url = parse_qs(urlsplit(answer["Location"]).query)["next"][0]
    assert not stale.get(page_url).context["begins_download"]
    given = stale.post(answer["Location"], {"password": PASSWORD})
    assert given["Location"] == page_url
    page = stale.get(page_url)
    csv_url = page.context["csv_url"]
    assert csv_url == f"{path}.csv?{urlencode(query)}"
    assert f'content="0; url={escape(csv_url)}"' in page.content.decode()
    assert stale.get(csv_url)["Content-Type"].startswith("text/csv")
    # An ordinary visit begins no download.
    assert 'http-equiv="refresh"' not in stale.get(path, query).content.decode()


def test_a_csv_file_of_a_recent_sign_in_asks_nothing(alice: User, customer: Customer) -> None:
    for path in ("/usage.csv", "/statement.csv"):
        assert signed_in(alice).get(path).status_code == 200


@pytest.fixture
def shared(alices_team: Team) -> Team:
    """Alice's team as one that may have more owners."""
    alices_team.is_personal = False
    alices_team.save()
    return alices_team


def test_making_an_owner_asks_first(stale: Client, shared: Team, bob: User) -> None:
    member = shared.memberships.get(user=bob)
    answer = stale.post(f"/team/members/{member.pk}", {"role": "owner"})
    assert answer["Location"].startswith(ASKS)
    member.refresh_from_db()
    assert member.role == Role.DEVELOPER
    answer = stale.post("/team/invitations", {"email": "x@example.com", "role": "owner"})
    assert answer["Location"].startswith(ASKS)
    assert not Invitation.objects.exists()


def test_other_roles_and_pages_ask_nothing(stale: Client, shared: Team, bob: User) -> None:
    member = shared.memberships.get(user=bob)
    changed = stale.post(f"/team/members/{member.pk}", {"role": "billing"})
    assert changed["Location"] == "/team"
    assert stale.get("/settings/apikeys").status_code == 200


def test_a_user_without_a_password_is_not_asked(stale: Client, alice: User) -> None:
    alice.set_unusable_password()
    alice.save()
    browser = signed_in(alice)
    note_sign_in(browser, alice, seconds_ago=3600)
    assert browser.get("/settings/apikeys/new").status_code == 200
