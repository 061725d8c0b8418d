"""The list of a team's keys."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from accounts import api_keys
from accounts.models import ApiKey, Membership, Role, Team, User
from billing.models import KeySpend
from tests.billing.ledger_calls import Customer, make_customer, settle
from tests.cast import issue, signed_in
from tests.portal.chat_pages import send
from tests.portal.keys_pages import URL

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("alices_account")]


def names(response: Any) -> list[str]:
    return [own.key.name for own in response.context["listing"].keys]


def test_a_key_shows_its_rules_and_not_itself(browser: Client, alices_team: Team, alice) -> None:
    key, plaintext = issue(
        alices_team,
        alice,
        "CI",
        allowed_models=["a-1", "b-2", "c-3", "d-4"],
        requests_per_minute=20,
        budget_day_nanos=10**9,
        expires_at=timezone.now() + timedelta(days=30),
    )
    page = browser.get(URL).content.decode()
    assert f"sk-tg-…{plaintext[-4:]}" in page
    assert plaintext[6:-4] not in page
    assert "alice@example.com" in page
    assert "and 1 more" in page
    assert "20 requests and 120,000 tokens a minute" in page
    assert "of $1.00" in page
    assert "Never used" in page
    assert f'href="{URL}/{key.pk}"' in page


def test_each_state_has_its_badge(browser: Client, alices_team: Team, alice) -> None:
    now = timezone.now()
    issue(alices_team, alice, "active")
    issue(alices_team, alice, "soon", expires_at=now + timedelta(days=6))
    issue(alices_team, alice, "expired", expires_at=now - timedelta(seconds=1))
    api_keys.revoke_key(issue(alices_team, alice, "revoked").key)
    api_keys.rotate_key(issue(alices_team, alice, "rotating").key, 3600)
    issue(alices_team, alice, "spent", budget_day_nanos=0)
    shown = browser.get(f"{URL}?show=all").context["listing"].keys
    states = [(own.key.name, own.state.title) for own in shown]
    assert states == [
        ("spent", "Budget reached"),
        ("rotating", "Active"),
        ("rotating", "Rotating"),
        ("revoked", "Revoked"),
        ("expired", "Expired"),
        ("soon", "Expires soon"),
        ("active", "Active"),
    ]


def test_only_active_keys_are_listed_until_all_are_asked_for(
    browser: Client, alices_team: Team, alice
) -> None:
    issue(alices_team, alice, "active")
    api_keys.revoke_key(issue(alices_team, alice, "revoked").key)
    issue(alices_team, alice, "expired", expires_at=timezone.now() - timedelta(days=1))
    assert names(browser.get(URL)) == ["active"]
    everything = browser.get(f"{URL}?show=all")
    assert names(everything) == ["expired", "revoked", "active"]
    listing = everything.context["listing"]
    assert (listing.current_count, listing.all_count) == (1, 3)


def test_a_rotated_key_leads_to_its_successor(browser: Client, alices_team: Team, alice) -> None:
    old = issue(alices_team, alice).key
    new, _ = api_keys.rotate_key(old, 60)
    page = browser.get(URL).content.decode()
    assert f'Replaced by <a href="{URL}/{new.pk}">sk-tg-…{new.last_four}</a>' in page


def test_spending_and_last_use_are_the_ledgers(alice: Any) -> None:
    customer = make_customer(10**9, budget_month_nanos=1_000)
    Membership.objects.create(user=alice, team=customer.team, role=Role.OWNER)
    browser = signed_in(alice)
    browser.post("/team/switch", {"team": customer.team.slug})
    spend(customer, 250)
    (own,) = browser.get(URL).context["listing"].keys
    assert [budget.spent_nanos for budget in own.spending.budgets] == [250, 250, 250]
    assert (own.spending.month.percent, own.spending.day.percent) == (25, None)
    assert own.spending.last_used_at is not None
    customer.move_spend((timezone.now() - timedelta(days=40)).date())
    (own,) = browser.get(URL).context["listing"].keys
    assert [budget.spent_nanos for budget in own.spending.budgets] == [0, 0, 250]


def test_a_team_without_keys_is_told_the_first_step(browser: Client) -> None:
    page = browser.get(URL).content.decode()
    assert "No keys yet" in page
    assert f'href="{URL}/new"' in page


def test_who_may_make_none_is_told_whom_to_ask(bob: Any, alices_team: Team) -> None:
    Membership.objects.filter(user=bob, team=alices_team).update(role=Role.BILLING)
    client = signed_in(bob)
    client.post("/team/switch", {"team": alices_team.slug})
    page = client.get(URL).content.decode()
    assert "Ask an owner" in page
    assert f"{URL}/new" not in page


def test_a_team_whose_keys_have_all_ended_is_told_so(
    browser: Client, alices_team: Team, alice
) -> None:
    api_keys.revoke_key(issue(alices_team, alice).key)
    assert "No current keys" in browser.get(URL).content.decode()


def test_a_suspended_team_is_told_so(browser: Client, alices_team: Team) -> None:
    Team.objects.update(suspended_at=timezone.now())
    assert "This team is suspended" in browser.get(URL).content.decode()


def test_other_teams_keys_are_not_listed(browser: Client, charlies_key: Any) -> None:
    assert names(browser.get(f"{URL}?show=all")) == []


@pytest.mark.parametrize("page", ["", "0", "-1", "x", "999"])
def test_a_page_that_is_none_shows_one_that_is(
    browser: Client, alices_team: Team, alice, page: str
) -> None:
    issue(alices_team, alice, "CI")
    assert names(browser.get(URL, {"page": page})) == ["CI"]


def test_a_long_list_has_pages_of_few_queries(
    browser: Client, alices_team: Team, alice, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        issue(alices_team, alice, f"key {number}")
    with django_assert_max_num_queries(11):  # one of them for the models of the dialog
        first = browser.get(URL)
    assert names(first) == [f"key {number}" for number in range(29, 4, -1)]
    older = first.context["listing"].older_url
    second = browser.get(older)
    assert names(second) == [f"key {number}" for number in range(4, -1, -1)]
    assert second.context["listing"].newer_url.endswith("page=1")


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7|add:7 }}",
        "\u202egnitirw tfel ot thgir\u202c",
        "bell\x07 and escape\x1b[31m",
        "שלום עולם",
    ],
)
def test_a_name_is_shown_as_text(browser: Client, alices_team: Team, alice, name: str) -> None:
    key = issue(alices_team, alice, name).key
    for url in (URL, f"{URL}/{key.pk}", f"{URL}/{key.pk}/edit", f"{URL}/{key.pk}/rotate"):
        page = browser.get(url).content.decode()
        assert escape(name) in page
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    row = browser.get(URL).content.decode()
    assert f'dir="auto">{escape(name)}</a>' in row


def spend(customer: Customer, nanos: int) -> None:
    """Let the customer's key spend."""
    ask = customer.admitted(amount_nanos=max(nanos, 100), minimum_nanos=0)
    settle(customer.end(ask, output_nanos=nanos))


def test_the_list_is_only_read(browser: Client) -> None:
    assert browser.post(URL).status_code == 405
    assert not ApiKey.objects.exists()


def test_a_chats_keys_are_counted_and_not_listed(
    browser: Client, alices_team: Team, alice: User
) -> None:
    issue(alices_team, alice, "CI")
    for _ in range(2):
        send(browser, "POST", "/chat/key")
    for query in ("", "?show=all"):
        page = browser.get(URL + query)
        assert names(page) == ["CI"]
        assert "2 temporary keys" in page.content.decode()
    assert "Chat session" not in browser.get("/usage").content.decode()


def test_who_has_a_chats_key_alone_is_offered_a_key(browser: Client) -> None:
    send(browser, "POST", "/chat/key")
    page = browser.get(URL).content.decode()
    assert "No keys yet" in page
    assert "1 temporary key " in page
    steps = browser.get("/dashboard").context["steps"]
    assert not steps.has_key


def test_keys_are_found_by_name_end_and_creator(
    browser: Client, alices_team: Team, alice: User, bob: User
) -> None:
    issue(alices_team, alice, "Nightly %_ report")
    _, plaintext = issue(alices_team, bob, "CI")
    assert names(browser.get(URL, {"q": "NIGHTLY"})) == ["Nightly %_ report"]
    assert names(browser.get(URL, {"q": "%_"})) == ["Nightly %_ report"]
    assert names(browser.get(URL, {"q": f"sk-tg-…{plaintext[-4:]}"})) == ["CI"]
    assert names(browser.get(URL, {"q": bob.email})) == ["CI"]
    nothing = browser.get(URL, {"q": "no\0such", "sort": "nonsense"})
    assert names(nothing) == []
    assert "No matching keys" in nothing.content.decode()


def test_keys_are_sorted(browser: Client, alices_team: Team, alice: User) -> None:
    now = timezone.now()
    month = now.date().replace(day=1)
    spends = {"b": (now, month, 5), "C": (now - timedelta(days=1), month, 9)}
    for name in ("b", "C", "a"):
        expires_at = now + timedelta(days=9) if name == "a" else None
        key = issue(alices_team, alice, name, expires_at=expires_at).key
        if name in spends:
            used, month, nanos = spends[name]
            KeySpend.objects.create(
                key=key, day=now.date(), month=month, month_nanos=nanos, last_used_at=used
            )
    last_month = (month - timedelta(days=1)).replace(day=1)
    old = issue(alices_team, alice, "old").key
    KeySpend.objects.create(key=old, day=last_month, month=last_month, month_nanos=99)
    orders = {
        "": ["old", "a", "C", "b"],
        "used": ["b", "C", "old", "a"],
        "spent": ["C", "b", "old", "a"],
        "expires": ["a", "old", "C", "b"],
    }
    for sort, expected in orders.items():
        assert names(browser.get(URL, {"sort": sort})) == expected, sort
    assert sorted(names(browser.get(URL, {"sort": "name"}))) == ["C", "a", "b", "old"]


def test_search_and_order_stay_from_page_to_page(
    browser: Client, alices_team: Team, alice: User
) -> None:
    for number in range(27):
        issue(alices_team, alice, f"key {number:02}")
    listing = browser.get(URL, {"q": "key", "sort": "name", "show": "all"}).context["listing"]
    following = browser.get(listing.older_url)
    assert names(following) == ["key 25", "key 26"]
    assert "q=key" in following.context["listing"].newer_url


def test_a_dialog_makes_a_key_where_the_sign_in_is_recent(
    password_browser: Client, alices_team: Team, alice: User, bob: User
) -> None:
    issue(alices_team, alice)
    page = password_browser.get(URL, headers={"x-team": alices_team.slug}).content.decode()
    assert 'id="new-key-dialog"' in page
    Membership.objects.filter(user=bob, team=alices_team).update(role=Role.BILLING)
    client = signed_in(bob)
    client.post("/team/switch", {"team": alices_team.slug})
    assert 'id="new-key-dialog"' not in client.get(URL).content.decode()
