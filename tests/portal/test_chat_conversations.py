"""Stored conversations: only by choice, only the member's own, within bounds."""

import uuid
from typing import Any

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.deletion import delete_user
from accounts.models import Membership, Role, Team, User
from billing.models import CreditAccount
from portal.chat import queries
from portal.models import Conversation, Message
from portal.profile.queries import stored_conversations
from tests.billing.ledger_calls import Customer
from tests.cast import IssuedKey, signed_in
from tests.portal.chat_pages import SETTINGS, URL, charge, made, new, search, send, store, turn
from tests.portal.serving import serve

pytestmark = pytest.mark.django_db


@pytest.fixture
def storing_browser(alice: User) -> Client:
    """A browser of Alice, who chose to have her conversations stored."""
    client = signed_in(alice)
    store(client)
    return client


def test_nothing_is_stored_unless_the_member_chose_it(alice: User) -> None:
    browser = signed_in(alice)
    assert send(browser, "POST", URL, new()).status_code == 409
    assert not Conversation.objects.exists()
    store(browser)
    assert send(browser, "POST", URL, new()).status_code == 201
    store(browser, stores=False)
    assert send(browser, "POST", URL, new()).status_code == 409
    assert Conversation.objects.count() == 1


def test_a_conversation_comes_back_as_it_was_said(storing_browser: Client) -> None:
    said = [
        turn("user", "<b>Hi</b>"),
        turn("assistant", "Hello", reasoning="Hm.", model="glm-5.2", finish_reason="stop"),
    ]
    shown = send(
        storing_browser, "GET", f"{URL}/{made(storing_browser, 'Greeting', *said).id}"
    ).json()
    assert shown["title"] == "Greeting"
    assert [(each["role"], each["content"]) for each in shown["messages"]] == [
        ("user", "<b>Hi</b>"),
        ("assistant", "Hello"),
    ]
    assert shown["messages"][1]["reasoning"] == "Hm."


def test_messages_follow_those_that_are_kept(storing_browser: Client) -> None:
    conversation = made(storing_browser)
    again = {"keep": 1, "messages": [turn("assistant", "A better answer.")]}
    answer = send(storing_browser, "POST", f"{URL}/{conversation.id}/messages", again)
    assert answer.json() == {"messages": 2}
    contents = conversation.messages.order_by("position").values_list("content", flat=True)
    assert list(contents) == ["What is a toll?", "A better answer."]


def test_costs_are_the_books(
    storing_browser: Client, alices_account: CreditAccount, alices_key: IssuedKey
) -> None:
    request_id = charge(alices_account, alices_key.key, 2_850)
    answered = turn("assistant", "A fee.", request_id=str(request_id))
    conversation = made(storing_browser, "Tolls", turn("user", "?"), answered)
    shown = send(storing_browser, "GET", f"{URL}/{conversation.id}").json()["messages"]
    assert [each["cost"] for each in shown] == ["", "$0.00000285"]
    told = send(storing_browser, "GET", f"/chat/charges/{request_id}").json()
    assert told == {"cost": "$0.00000285", "available": "$0.00"}


def test_the_balance_after_an_answer_is_shown_as_everywhere(
    storing_browser: Client, customer: Customer
) -> None:
    record = serve(customer, output_nanos=700)
    told = send(storing_browser, "GET", f"/chat/charges/{record.request_id}").json()
    assert told == {"cost": "$0.0000007", "available": "$4.99"}
    assert storing_browser.get("/dashboard/balance").json() == {"balance": told["available"]}


def test_another_teams_charge_is_not_told(
    storing_browser: Client,
    alices_account: CreditAccount,
    charlies_account: Any,
    charlies_key: IssuedKey,
) -> None:
    request_id = charge(charlies_account, charlies_key.key, 2_850)
    assert send(storing_browser, "GET", f"/chat/charges/{request_id}").json()["cost"] is None
    answered = turn("assistant", "A fee.", request_id=str(request_id))
    conversation = made(storing_browser, "Tolls", answered)
    assert (
        send(storing_browser, "GET", f"{URL}/{conversation.id}").json()["messages"][0]["cost"] == ""
    )


def test_search_finds_titles_and_messages(storing_browser: Client) -> None:
    made(storing_browser, "Bridges", turn("user", "How wide?"))
    made(storing_browser, "Roads", turn("user", "Which bridge is toll-free?"))
    made(storing_browser, "Ferries", turn("user", "When?"))
    found = search(storing_browser, "bridge").json()["data"]
    assert [each["title"] for each in found] == ["Roads", "Bridges"]
    assert len(search(storing_browser, "").json()["data"]) == 3
    assert search(storing_browser, "\0%_").json()["data"] == []


def test_rename_and_settings_change_what_is_named_alone(storing_browser: Client) -> None:
    conversation = made(storing_browser)
    send(storing_browser, "PATCH", f"{URL}/{conversation.id}", {"title": "New name"})
    changed = {**SETTINGS, "temperature": 0.5}
    send(storing_browser, "PATCH", f"{URL}/{conversation.id}", {"settings": changed})
    conversation.refresh_from_db()
    assert (conversation.title, conversation.model) == ("New name", "glm-5.2")
    assert conversation.settings == changed


def test_delete_one_and_delete_all(storing_browser: Client, charlie: User) -> None:
    others = signed_in(charlie)
    store(others)
    kept = made(others)
    first, _ = made(storing_browser), made(storing_browser)
    assert send(storing_browser, "DELETE", f"{URL}/{first.id}").status_code == 204
    assert Conversation.objects.count() == 2
    assert send(storing_browser, "DELETE", URL).status_code == 204
    assert list(Conversation.objects.all()) == [kept]
    assert set(Message.objects.values_list("conversation_id", flat=True)) == {kept.id}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {"title": "Mine now"}),
        ("DELETE", "", None),
        ("POST", "/messages", {"keep": 0, "messages": [turn("user", "x")]}),
    ],
)
def test_other_peoples_conversations_are_not_found(
    storing_browser: Client, bob: User, alices_team: Team, method: str, path: str, body: Any
) -> None:
    conversation = made(storing_browser)
    colleague = signed_in(bob)
    session = colleague.session
    session["team"] = alices_team.slug
    session.save()
    store(colleague)
    assert send(colleague, method, f"{URL}/{conversation.id}{path}", body).status_code == 404
    assert colleague.get(f"/chat/{conversation.id}").status_code == 404
    conversation.refresh_from_db()
    assert (conversation.title, conversation.messages.count()) == ("Tolls", 2)
    assert send(colleague, "GET", URL).json()["data"] == []


def test_a_conversation_stays_in_its_team(
    storing_browser: Client, alice: User, charlies_team: Team
) -> None:
    conversation = made(storing_browser)
    Membership.objects.create(user=alice, team=charlies_team, role=Role.DEVELOPER)
    session = storing_browser.session
    session["team"] = charlies_team.slug
    session.save()
    assert send(storing_browser, "GET", f"{URL}/{conversation.id}").status_code == 404


def test_a_page_that_was_made_for_another_team_stores_nothing(
    storing_browser: Client, charlies_team: Team
) -> None:
    answer = send(storing_browser, "POST", URL, new(), team=charlies_team)
    assert (answer.status_code, "Reload" in answer.json()["error"]) == (409, True)
    assert not Conversation.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        "[]",
        {**new(), "title": ""},
        {**new(), "title": "x" * 121},
        {**new(), "messages": [turn("system", "x")]},
        {**new(), "messages": [turn("user", "x" * 200_001)]},
        {**new(), "messages": [turn("user", "x")] * 401},
        {**new(), "settings": {**SETTINGS, "temperature": 3}},
        {**new(), "user": 1},
    ],
)
def test_what_is_out_of_bounds_is_refused_and_said_so(storing_browser: Client, body: Any) -> None:
    answer = send(storing_browser, "POST", URL, body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("This can't be stored")
    assert not Conversation.objects.exists()


def test_a_body_that_is_too_large_is_refused(storing_browser: Client) -> None:
    body = new("Long", *[turn("user", "x" * 190_000)] * 15)
    assert send(storing_browser, "POST", URL, body).status_code == 413


def test_a_full_account_and_a_full_conversation_say_what_to_do(
    storing_browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = made(storing_browser)
    monkeypatch.setattr(queries, "MOST_CONVERSATIONS", 1)
    monkeypatch.setattr(queries, "MOST_MESSAGES", 2)
    answer = send(storing_browser, "POST", URL, new())
    assert (answer.status_code, "Delete some" in answer.json()["error"]) == (409, True)
    more = {"keep": 2, "messages": [turn("user", "x")]}
    answer = send(storing_browser, "POST", f"{URL}/{conversation.id}/messages", more)
    assert (answer.status_code, "Start a new one" in answer.json()["error"]) == (409, True)
    assert conversation.messages.count() == 2


def test_control_characters_are_stored_as_far_as_the_database_can(storing_browser: Client) -> None:
    conversation = made(storing_browser, "a\0b", turn("user", "\0 \u202e \x07"))
    assert conversation.title == "a\N{REPLACEMENT CHARACTER}b"
    content = conversation.messages.get().content
    assert content == "\N{REPLACEMENT CHARACTER} \u202e \x07"


def test_the_list_and_a_conversation_take_few_queries(
    storing_browser: Client,
    alices_team: Team,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    said = [turn("assistant", "x", request_id=str(uuid.uuid4())) for _ in range(20)]
    conversation = made(storing_browser, "Long", *said)
    with django_assert_max_num_queries(8):
        send(storing_browser, "GET", f"{URL}/{conversation.id}", team=alices_team)
    with django_assert_max_num_queries(8):
        search(storing_browser, "x", team=alices_team)


def test_the_export_has_all_that_is_stored_and_nobody_elses(
    storing_browser: Client, alice: User, charlie: User
) -> None:
    made(storing_browser, "First", turn("user", "One"), turn("assistant", "Two", reasoning="Hm."))
    made(storing_browser, "Second")
    others = signed_in(charlie)
    store(others)
    made(others)
    exported = list(stored_conversations(alice))
    assert [each["title"] for each in exported] == ["First", "Second"]
    assert [each["content"] for each in exported[0]["messages"]] == ["One", "Two"]
    assert exported[0]["messages"][1]["reasoning"] == "Hm."


def test_the_end_of_an_account_takes_its_conversations_along(
    storing_browser: Client, alice: User
) -> None:
    assert send(storing_browser, "POST", URL, new()).status_code == 201
    delete_user(alice)
    assert not Conversation.objects.exists()
    assert not Message.objects.exists()
