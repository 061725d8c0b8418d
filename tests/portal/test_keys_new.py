"""Making a key by the form: its rules, its errors, and the plaintext that is shown once."""

import logging
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import api_keys
from accounts.models import ApiKey, AuditEntry, Membership, Role
from tests.api.manage.conftest import Caller
from tests.cast import everything_in_the_database, issue, signed_in
from tests.portal.keys_pages import URL, errors, make, new_form, plaintexts
from tests.support.sampling import half_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alices_account", "default_catalogue")]


def test_a_key_beyond_the_teams_limit_is_refused_with_what_to_do(
    browser: Client, alices_team: Any
) -> None:
    type(alices_team).objects.filter(pk=alices_team.pk).update(max_keys=0)
    answer = make(browser, name="One more")
    assert answer.status_code == 409
    assert "Revoke one you no longer use" in answer.content.decode()
    assert not alices_team.api_keys.filter(name="One more").exists()


def test_a_key_gets_every_rule_of_the_form(browser: Client, alice: Any) -> None:
    answer = make(
        browser,
        name="  Build server ",
        allowed_models=["glm-5.2", "glm-4.7"],
        requests_per_minute="30",
        tokens_per_minute="1000",
        budget_day="0.5",
        budget_month="12.000000001",
        budget_total="100",
        expiry="day",
        expires_on=f"{timezone.now():%Y}-12-31",
    )
    assert answer.status_code == 200
    key = ApiKey.objects.get()
    assert (key.name, key.scope, key.created_by) == ("Build server", "inference", alice)
    assert key.allowed_models == ["glm-5.2", "glm-4.7"]
    assert (key.requests_per_minute, key.tokens_per_minute) == (30, 1000)
    assert key.budget_day_nanos == 500_000_000
    assert key.budget_month_nanos == 12_000_000_001
    assert key.budget_total_nanos == 100_000_000_000
    assert key.expires_at == datetime(timezone.now().year + 1, 1, 1, tzinfo=UTC)


def test_a_name_is_enough(browser: Client) -> None:
    make(browser, name="CI")
    key = ApiKey.objects.get()
    assert (key.name, key.expires_at, key.allowed_models) == ("CI", None, [])
    assert key.requests_per_minute is key.tokens_per_minute is None
    assert key.budget_day_nanos is key.budget_month_nanos is key.budget_total_nanos is None


@pytest.mark.parametrize("typed", ["60", " 60 ", "60.0", "060"])
def test_a_limit_may_be_typed_in_several_ways(browser: Client, typed: str) -> None:
    make(browser, requests_per_minute=typed)
    assert ApiKey.objects.get().requests_per_minute == 60


@pytest.mark.parametrize("days", [7, 30, 90])
def test_an_expiry_is_counted_from_now(browser: Client, days: int) -> None:
    make(browser, expiry=str(days))
    left = ApiKey.objects.get().expires_at - timezone.now()
    assert timedelta(days=days, minutes=-5) < left <= timedelta(days=days)


@pytest.mark.parametrize(
    ("fields", "field", "text"),
    half_of(
        "mistakes beside their fields",
        [
            ({"name": ""}, "name", "Enter a name."),
            ({"name": "   "}, "name", "Enter a name."),
            ({"name": "x" * 121}, "name", "Enter at most 120 characters."),
            ({"name": "a\0b"}, "name", "Null characters are not allowed."),
            ({"expiry": "someday"}, "expiry", "Select a valid choice"),
            ({"expiry": "keep"}, "expiry", "Select a valid choice"),
            ({"expiry": "day"}, "expires_on", "Choose an expiry date."),
            ({"expiry": "day", "expires_on": "soon"}, "expires_on", "Enter a valid date."),
            ({"expiry": "day", "expires_on": "2020-01-01"}, "expires_on", "a time in the future"),
            ({"expiry": "day", "expires_on": "9999-12-31"}, "expires_on", "Choose an earlier date"),
            (
                {"allowed_models": ["no-such-model"]},
                "allowed_models",
                "no-such-model is not one of",
            ),
            (
                {"requests_per_minute": "61"},
                "requests_per_minute",
                "Enter at most 60, the plan's limit",
            ),
            ({"requests_per_minute": "0"}, "requests_per_minute", "Enter at least 1."),
            ({"requests_per_minute": "many"}, "requests_per_minute", "Enter a whole number"),
            ({"tokens_per_minute": "120001"}, "tokens_per_minute", "Enter at most 120000"),
            ({"tokens_per_minute": "9" * 2000}, "tokens_per_minute", "Enter a whole number"),
            ({"budget_day": "$5"}, "budget_day", "Enter an amount in dollars, such as"),
            ({"budget_month": "-1"}, "budget_month", "Enter an amount in dollars"),
            ({"budget_total": "0.0000000001"}, "budget_total", "Enter an amount in dollars"),
            ({"budget_total": "1e9"}, "budget_total", "Enter an amount in dollars"),
            ({"scope": "root"}, "scope", "Select a valid choice"),
        ],
    ),
)
def test_a_mistake_is_said_beside_its_field(browser: Client, fields, field, text) -> None:
    answer = make(browser, **fields)
    assert answer.status_code == 400
    assert list(errors(answer)) == [field]
    assert text in errors(answer)[field][0]
    page = answer.content.decode()
    assert page.count(f'id="id_{field}_error"') == 1
    assert f"id_{field}_error" in re.search(rf'aria-describedby="[^"]*id_{field}_error', page)[0]
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x" * 121),
        ("requests_per_minute", "61"),
        ("requests_per_minute", "many"),
        ("tokens_per_minute", "0"),
        ("budget_day", "$5"),
    ],
)
def test_the_page_and_the_management_api_refuse_in_the_same_words(
    browser: Client, alice: Any, field: str, value: str
) -> None:
    (on_the_page,) = errors(make(browser, **{field: value}))[field]
    answer = Caller(signed_in(alice))("POST", "/keys", {"name": "CI", field: value})
    assert answer.status_code == 400
    if answer.data["error"]["code"] != "invalid_type":  # whose message names the type instead
        assert answer.data["error"]["message"] == f"Invalid '{field}': {on_the_page}"


def test_what_was_typed_is_still_there_beside_the_error(browser: Client) -> None:
    page = make(browser, name="My key", budget_day="5 dollars", allowed_models=["glm-5.2"])
    text = page.content.decode()
    assert 'value="My key"' in text
    assert 'value="5 dollars"' in text
    assert len(re.findall(r"<input[^>]*checked", text)) == 1


def test_the_plaintext_is_shown_once_and_kept_nowhere(browser: Client, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    answer = make(browser)
    (plaintext,) = plaintexts(answer)
    assert api_keys.find_active(plaintext) == ApiKey.objects.get()
    assert "no-store" in answer["Cache-Control"]
    key_url = f"{URL}/{ApiKey.objects.get().pk}"
    for url in (URL, f"{URL}?show=all", key_url, f"{key_url}/edit", f"{key_url}/rotate"):
        page = browser.get(url)
        assert page.status_code == 200
        assert plaintext[6:-4] not in page.content.decode()
    sessions = " ".join(str(session.get_decoded()) for session in Session.objects.all())
    for kept in (everything_in_the_database(), sessions, caplog.text, str(browser.cookies)):
        assert plaintext[6:-4] not in kept


def test_code_is_shown_with_the_readers_host_the_key_and_a_model(browser: Client) -> None:
    answer = make(browser, allowed_models=["glm-4.7"])
    (plaintext,) = plaintexts(answer)
    snippets = {snippet.name: snippet.text for snippet in answer.context["snippets"]}
    assert list(snippets) == ["curl", "python", "node", "fetch"]
    for text in snippets.values():
        assert "http://testserver/v1" in text
        assert plaintext in text
        assert '"glm-4.7"' in text


def test_a_management_key_is_shown_with_the_management_api(browser: Client) -> None:
    answer = make(browser, scope="management")
    assert len(answer.context["snippets"]) > 0
    for snippet in answer.context["snippets"]:
        assert "http://testserver/api/manage/v1/keys" in snippet.text
        assert "chat/completions" not in snippet.text
    assert ApiKey.objects.get().scope == "management"


def test_a_reload_says_that_the_key_was_made_and_makes_none(browser: Client) -> None:
    form = new_form(browser)
    first = browser.post(f"{URL}/new", form)
    again = browser.post(f"{URL}/new", form)
    assert again.status_code == 409
    assert "This key was already created" in again.content.decode()
    assert f"{URL}/{ApiKey.objects.get().pk}" in again.content.decode()
    assert plaintexts(first)
    assert not plaintexts(again)
    assert AuditEntry.objects.count() == 1


def test_a_form_that_was_refused_can_be_sent_again(browser: Client) -> None:
    form = new_form(browser, name="")
    assert browser.post(f"{URL}/new", form).status_code == 400
    assert browser.post(f"{URL}/new", {**form, "name": "CI"}).status_code == 200


def test_each_form_makes_a_key_of_its_own(browser: Client) -> None:
    for count in range(1, 24):  # more than the session remembers
        make(browser)
        assert ApiKey.objects.count() == count
    (session,) = Session.objects.all()
    assert len(session.get_decoded()["keys_made"]) == 20


@pytest.mark.django_db(transaction=True)
def test_of_the_same_form_sent_at_the_same_time_one_makes_a_key(browser: Client) -> None:
    form = new_form(browser)
    cookies, statuses = browser.cookies, []
    start = threading.Barrier(4)

    def send() -> None:
        client = Client()
        client.cookies = cookies
        start.wait()
        statuses.append(client.post(f"{URL}/new", form).status_code)
        connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 409, 409, 409]
    assert ApiKey.objects.count() == 1


def test_a_new_key_is_in_the_audit_log(browser: Client, alice: Any) -> None:
    make(browser)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor, entry.ip_address) == ("key.created", alice, "127.0.0.1")


@pytest.mark.parametrize("role", [Role.ADMIN, Role.DEVELOPER])
def test_only_an_owner_makes_a_management_key(
    browser: Client, bob: Any, alices_team: Any, role: str
) -> None:
    Membership.objects.filter(user=bob, team=alices_team).update(role=role)
    client = signed_in(bob)
    client.post("/team/switch", {"team": alices_team.slug})
    assert "management of this team" not in client.get(f"{URL}/new").content.decode()
    refused = make(client, scope="management")
    assert refused.status_code == 403
    assert not ApiKey.objects.exists()
    assert make(client, scope="").status_code == 200
    assert ApiKey.objects.get().scope == "inference"


def test_queries_are_few(browser: Client, alice: Any, alices_team: Any) -> None:
    issue(alices_team, alice)
    form = new_form(browser)
    with CaptureQueriesContext(
        connection,
    ) as captured:
        browser.get(f"{URL}/new")
    assert len(captured) <= 15
    with CaptureQueriesContext(connection) as captured:
        browser.post(f"{URL}/new", form)
    # The tests' own transaction turns those of the page into savepoints.
    queries = [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]
    assert len(queries) <= 15
