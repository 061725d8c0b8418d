"""Promotional codes: exactly as many redemptions as are allowed, once a team, once a person."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.utils import timezone

from accounts.access import Actor
from accounts.deletion import delete_user
from accounts.models import AuditEntry, Membership, Plan, Role, Team, User
from accounts.teams import create_team
from billing.ledger import postings
from billing.models import CodeRedemption, CreditCode
from billing.payments import promotions
from billing.usage.balances import balance_of
from billing.usage.lots import lots_left

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

DOLLAR = 10**9
Make = Callable[..., CreditCode]


@pytest.fixture
def owner(alice: User, alices_team: Team) -> Actor:
    """Alice, who acts for her team."""
    return Actor(team=alices_team, user=alice, role=Role.OWNER)


@pytest.fixture
def make_code() -> Make:
    """Make the code WELCOME of $5, once, with changes."""

    def make(**changes: Any) -> CreditCode:
        fields = {"code": "WELCOME", "amount_nanos": 5 * DOLLAR, "redemptions_limit": 1}
        return CreditCode.objects.create(**(fields | changes))

    return make


@pytest.mark.parametrize("text", ["WELCOME", "welcome", "  Wel come\n"])
def test_a_code_is_redeemed_however_it_is_typed(text: str, owner: Actor, make_code: Make) -> None:
    code = make_code(redemptions_limit=3)
    redemption = promotions.redeem_code(owner, text, ip_address="192.0.2.1")
    assert (redemption.code, redemption.team, redemption.user) == (code, owner.team, owner.user)
    assert balance_of(owner.team).available_nanos == 5 * DOLLAR
    code.refresh_from_db()
    assert code.redemptions == 1
    entry = AuditEntry.objects.get(action="code.redeemed")
    assert (entry.subject, entry.detail) == ("WELCOME", {"amount": "$5"})
    assert entry.ip_address == "192.0.2.1"


def test_credits_expire_if_the_code_says_so(owner: Actor, make_code: Make) -> None:
    make_code(credit_days=30)
    promotions.redeem_code(owner, "WELCOME")
    (lot,) = lots_left(postings.open_account(owner.team))
    assert lot.expires_at is not None
    assert abs(lot.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=5)
    assert not lot.is_paid


@pytest.mark.parametrize(
    "changes",
    [
        {"code": "ANOTHER"},
        {"is_active": False},
        {"expires_at": timezone.now() - timedelta(seconds=1)},
        {"redemptions_limit": 0},
    ],
)
def test_invalid_codes_all_get_the_same_message(
    changes: dict[str, Any], owner: Actor, make_code: Make
) -> None:
    make_code(**changes)
    with pytest.raises(promotions.CodeInvalidError) as refused:
        promotions.redeem_code(owner, "WELCOME")
    assert str(refused.value) == "This code is invalid, expired or used up."
    assert balance_of(owner.team).posted_nanos == 0
    assert not CreditCode.objects.filter(redemptions__gt=0).exists()
    assert not AuditEntry.objects.filter(action="code.redeemed").exists()


@pytest.mark.parametrize("text", ["", " ", "x" * 41, "WEL\0COME", "\uff37ELCOME", "'; --"])
def test_malformed_codes_are_refused(text: str, owner: Actor, make_code: Make) -> None:
    make_code()
    with pytest.raises(promotions.CodeInvalidError):
        promotions.redeem_code(owner, text)


def test_a_team_redeems_a_code_once_even_when_it_is_used_up(owner: Actor, make_code: Make) -> None:
    code = make_code()
    promotions.redeem_code(owner, "WELCOME")
    with pytest.raises(promotions.CodeUsedError, match="Your team has already redeemed this code"):
        promotions.redeem_code(owner, "WELCOME")
    code.refresh_from_db()
    assert code.redemptions == 1
    assert balance_of(owner.team).posted_nanos == 5 * DOLLAR


def test_a_person_cannot_redeem_a_code_again_for_another_team(
    owner: Actor, make_code: Make
) -> None:
    code = make_code(redemptions_limit=10)
    promotions.redeem_code(owner, "WELCOME")
    assert owner.user is not None
    second = create_team("Second", owner=owner.user)
    with pytest.raises(promotions.CodeUsedError, match="another team"):
        promotions.redeem_code(Actor(team=second, user=owner.user, role=Role.OWNER), "WELCOME")
    code.refresh_from_db()
    assert code.redemptions == 1
    assert balance_of(second).posted_nanos == 0


def redeem_concurrently(actors: list[Actor]) -> list[str]:
    """Let all actors redeem the code at once, and return the results."""

    def attempt(actor: Actor) -> str:
        try:
            promotions.redeem_code(actor, "WELCOME")
        except promotions.CodeError as error:
            return type(error).__name__
        finally:
            connection.close()
        return "redeemed"

    with ThreadPoolExecutor(20) as threads:
        return list(threads.map(attempt, actors))


@pytest.mark.django_db(transaction=True)
def test_a_hundred_teams_at_once_redeem_it_as_often_as_it_allows(make_code: Make) -> None:
    code = make_code(redemptions_limit=7)
    plan = Plan.objects.get(is_default=True)
    teams = [Team.objects.create(name=f"{n}", slug=f"team-{n}", plan=plan) for n in range(100)]
    outcomes = redeem_concurrently([Actor(team=team) for team in teams])
    assert outcomes.count("redeemed") == 7
    assert outcomes.count("CodeInvalidError") == 93
    code.refresh_from_db()
    assert code.redemptions == CodeRedemption.objects.count() == 7
    assert sum(balance_of(team).posted_nanos for team in teams) == 7 * 5 * DOLLAR


@pytest.mark.django_db(transaction=True)
def test_one_team_twenty_times_at_once_redeems_it_once(owner: Actor, make_code: Make) -> None:
    code = make_code(redemptions_limit=100)
    outcomes = redeem_concurrently([owner] * 20)
    assert sorted(outcomes) == ["CodeUsedError"] * 19 + ["redeemed"]
    code.refresh_from_db()
    assert code.redemptions == 1
    assert balance_of(owner.team).posted_nanos == 5 * DOLLAR


@pytest.mark.parametrize("address", ["alice@example.com", "Alice+again@Example.com"])
def test_a_mailbox_redeems_a_code_once_also_after_its_account_is_deleted(
    address: str, owner: Actor, make_code: Make
) -> None:
    make_code(redemptions_limit=9)
    promotions.redeem_code(owner, "WELCOME")
    assert owner.user is not None
    delete_user(owner.user)
    kept = CodeRedemption.objects.get()
    assert "alice" not in f"{kept.mailbox_digest} {User.objects.get(pk=owner.user.pk).email}"
    again = User.objects.create_user(address)
    team = create_team("Another", owner=again)

    with pytest.raises(promotions.CodeUsedError):
        promotions.redeem_code(Actor(team=team, user=again, role=Role.OWNER), "WELCOME")

    assert CodeRedemption.objects.count() == 1
    assert CreditCode.objects.get().redemptions == 1


def test_a_mailbox_is_known_by_an_older_secret_key(
    owner: Actor, make_code: Make, settings: Any
) -> None:
    make_code(redemptions_limit=9)
    promotions.redeem_code(owner, "WELCOME")
    assert owner.user is not None
    delete_user(owner.user)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key, of fifty characters at least, for the test"
    again = User.objects.create_user("alice@example.com")
    team = create_team("Another", owner=again)

    with pytest.raises(promotions.CodeUsedError):
        promotions.redeem_code(Actor(team=team, user=again, role=Role.OWNER), "WELCOME")


@pytest.mark.parametrize("permission", ["add_creditcode", "change_creditcode", "view_creditcode"])
def test_who_may_make_codes_redeems_none_for_a_team_of_theirs(
    permission: str, owner: Actor, alices_team: Team, clerk: User, make_code: Make
) -> None:
    """Not by themselves, and not by another member."""
    code = make_code()
    Membership.objects.create(user=clerk, team=alices_team, role=Role.ADMIN)
    clerk.user_permissions.add(Permission.objects.get(codename=permission))
    for user in (clerk, owner.user):
        actor = Actor(team=alices_team, user=user, role=Role.ADMIN)
        with pytest.raises(promotions.CodeError, match="one of its members manages them"):
            promotions.redeem_code(actor, "WELCOME")
    code.refresh_from_db()
    assert (code.redemptions, balance_of(alices_team).available_nanos) == (0, 0)


def test_other_staff_are_customers_too(owner: Actor, make_code: Make) -> None:
    make_code()
    User.objects.filter(pk=owner.team.memberships.get(role=Role.OWNER).user_id).update(
        is_staff=True
    )
    assert promotions.redeem_code(owner, "WELCOME").team == owner.team
