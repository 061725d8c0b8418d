"""Actions on a customer: with permission and reason, in both logs, and in force at once."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core import mail
from django.test import Client
from django.utils import timezone

from accounts import invitations
from accounts.access import Actor
from accounts.models import AuditEntry, Plan, Role, Team, User
from billing.models import ContractPrice, CreditAccount, CreditLot, ManualPosting, Transfer
from portal.console.actions import ACTIONS
from tests.cast import IssuedKey, signed_in
from tests.portal.serving import DOLLAR, customer_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_are_right")]

REASON = "Asked for in ticket 17"


@pytest.fixture
def team(alices_account: CreditAccount, alices_team: Team) -> Team:
    """Alice's team, with an account."""
    return alices_team


def url_of(team: Team, action: str = "") -> str:
    return f"/admin/customers/{team.pk}" + (f"/{action}" if action else "")


def fields_of(action: str, team: Team, key: IssuedKey, member: User) -> dict[str, Any]:
    """Return what the action's form is submitted with."""
    plan, _ = Plan.objects.get_or_create(name="large", title="Large")
    amount = {"id": str(uuid.uuid4()), "amount": "5"}
    fields: dict[str, Any] = {
        "grant": {**amount, "days": "30"},
        "goodwill": amount,
        "adjust": {**amount, "direction": "give"},
        "contract": {"id": str(uuid.uuid4()), "factor": "0.85"},
        "end-contract": {"contract": ContractPrice.objects.values_list("pk", flat=True).first()},
        "limits": {"concurrent_requests": "7", "max_keys": ""},
        "plan": {"plan": plan.pk},
        "freeze-key": {"key": key.key.pk},
        "unfreeze-key": {"key": key.key.pk},
        "email": {"email": f"password:{member.pk}"},
        "sessions": {"member": member.pk},
        "note": {"text": "Called about invoices"},
        "tags": {"tags": "VIP, beta,vip"},
    }
    return {"reason": REASON, **fields.get(action, {})}


def before(action: str, staff: Client, team: Team, key: IssuedKey, member: User) -> None:
    """Bring the team into the state in which the action applies."""
    first = {"unfreeze": "freeze", "unfreeze-key": "freeze-key", "end-contract": "contract"}
    if action in first:
        name = first[action]
        submit(staff, url_of(team, name), fields_of(name, team, key, member))


def submit(browser: Client, url: str, form: dict[str, Any]) -> Any:
    """Send a form, and once more where it comes back to be reviewed. Return the last answer."""
    answer = browser.post(url, form)
    review = answer.status_code == 200 and answer.context["form"].data.get("reviewed")
    return browser.post(url, form | {"reviewed": review}) if review else answer


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_takes_its_permission_and_is_in_the_logs(
    staff: Client, team: Team, alices_key: IssuedKey, alice: User, name: str
) -> None:
    before(name, staff, team, alices_key, alice)
    action, url = ACTIONS[name], url_of(team, name)
    form = fields_of(name, team, alices_key, alice)
    clerk = User.objects.create_user("clerk@example.com", is_staff=True)
    label, _, codename = action.permission.partition(".")
    permissions = Permission.objects.filter(content_type__app_label__in=["accounts", "billing"])
    own = permissions.get(content_type__app_label=label, codename=codename)
    clerk.user_permissions.set(permissions.exclude(pk=own.pk))
    entries, logged = AuditEntry.objects.count(), LogEntry.objects.count()
    assert signed_in(clerk).post(url, form).status_code == 403
    assert f'href="{url}"' not in signed_in(clerk).get(url_of(team)).content.decode()
    assert (AuditEntry.objects.count(), LogEntry.objects.count()) == (entries, logged)

    clerk.user_permissions.set([own, permissions.get(codename="view_team")])
    browser = signed_in(User.objects.get(pk=clerk.pk))
    assert f'href="{url}"' in browser.get(url_of(team)).content.decode()
    assert browser.get(url).status_code == 200
    answer = submit(browser, url, form)
    assert answer.status_code == 302, answer.context["form"].errors
    assert LogEntry.objects.filter(user=clerk).count() == 1
    if name not in {"note", "tags"}:
        entry = AuditEntry.objects.latest("pk")
        assert (entry.team, entry.actor, entry.detail["reason"]) == (team, clerk, REASON)
        assert REASON in LogEntry.objects.latest("pk").change_message
        assert entry.actor_label == "staff"


@pytest.mark.parametrize("name", [name for name in ACTIONS if name not in {"note", "tags"}])
def test_no_action_is_done_without_a_reason(
    staff: Client, team: Team, alices_key: IssuedKey, alice: User, name: str
) -> None:
    before(name, staff, team, alices_key, alice)
    entries = AuditEntry.objects.count()
    form = fields_of(name, team, alices_key, alice) | {"reason": "   "}
    answer = staff.post(url_of(team, name), form)
    assert answer.context["form"].errors.keys() == {"reason"}
    assert AuditEntry.objects.count() == entries
    assert not Transfer.objects.exists()


def test_money_moves_as_the_form_says(staff: Client, team: Team) -> None:
    def post(action: str, **fields: str) -> Any:
        form = {"id": str(uuid.uuid4()), "reason": REASON, **fields}
        return form, staff.post(url_of(team, action), form)

    grant, _ = post("grant", amount="5", days="30")
    staff.post(url_of(team, "grant"), grant)
    post("goodwill", amount="2.50")
    post("adjust", amount="1", direction="take")
    account = CreditAccount.objects.get(team=team)
    assert account.posted_nanos == 6_500_000_000
    assert list(ManualPosting.objects.order_by("created_at").values_list("kind", flat=True)) == [
        *("grant", "goodwill", "adjustment")
    ]
    lot = CreditLot.objects.get(account=account, transfer__kind="grant")
    posting = ManualPosting.objects.get(kind="grant")
    assert posting.expires_at is not None
    assert timedelta(days=29) < posting.expires_at - timezone.now() <= timedelta(days=30)
    assert lot.expires_at == posting.expires_at
    _, answer = post("adjust", amount="100", direction="take")
    assert "Only $6.50 is available." in answer.content.decode()
    for amount in ("0", "-1", "free", "", "1e9"):
        _, answer = post("grant", amount=amount)
        assert "amount" in answer.context["form"].errors, amount
    account.refresh_from_db()
    assert account.posted_nanos == 6_500_000_000


def test_a_large_amount_waits_and_is_confirmed_by_another_person(
    staff: Client, team: Team, settings: Any
) -> None:
    settings.STAFF_APPROVAL_DOLLARS = "10"
    form = {"id": str(uuid.uuid4()), "amount": "10.01", "reason": REASON}
    page = staff.post(url_of(team, "goodwill"), form, follow=True).content.decode()
    assert "Another member of staff must confirm it" in page
    posting = ManualPosting.objects.get()
    confirm = f"/admin/billing/manualposting/{posting.pk}/approve/"
    assert "Another member of staff must confirm" in staff.post(confirm).content.decode()
    assert not Transfer.objects.exists()

    boss = signed_in(User.objects.create_superuser("boss@example.com", "boss secret"))
    assert "$10.010000000" in boss.get(confirm).content.decode()
    assert not Transfer.objects.exists(), "a look confirms nothing"
    assert boss.post(confirm).status_code == 302
    assert boss.post(confirm).status_code == 302
    assert CreditAccount.objects.get(team=team).posted_nanos == 10_010_000_000


def test_a_posting_that_waits_is_rejected_with_a_reason(
    staff: Client, team: Team, settings: Any
) -> None:
    settings.STAFF_APPROVAL_DOLLARS = "10"
    form = {"id": str(uuid.uuid4()), "amount": "11", "reason": REASON}
    staff.post(url_of(team, "goodwill"), form)
    posting = ManualPosting.objects.get()
    reject = f"/admin/billing/manualposting/{posting.pk}/reject/"
    assert staff.post(reject, {"reason": ""}).status_code == 200
    assert staff.post(reject, {"reason": "Wrong team"}).status_code == 302
    posting.refresh_from_db()
    assert posting.state == "rejected"
    assert not Transfer.objects.exists()


def test_confirming_takes_a_permission_and_is_not_for_ones_own_team(
    staff: Client, team: Team, alice: User, settings: Any
) -> None:
    settings.STAFF_APPROVAL_DOLLARS = "10"
    staff.post(
        url_of(team, "goodwill"), {"id": str(uuid.uuid4()), "amount": "11", "reason": REASON}
    )
    posting = ManualPosting.objects.get()
    alice.is_staff = True
    alice.save()
    for codenames in (["view_manualposting"], ["view_manualposting", "approve_manualposting"]):
        alice.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        browser = signed_in(User.objects.get(pk=alice.pk))
        for action in ("approve", "reject"):
            url = f"/admin/billing/manualposting/{posting.pk}/{action}/"
            assert browser.post(url, {"reason": "mine"}).status_code == 403
    assert not Transfer.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_frozen_key_is_refused_until_it_is_unfrozen(
    staff: Client, team: Team, alices_key: IssuedKey, alices_account: CreditAccount
) -> None:
    key = alices_key.key
    expiry = timezone.now() + timedelta(days=3)
    type(key).objects.filter(pk=key.pk).update(expires_at=expiry)
    customer = customer_of(alices_account, alices_key, DOLLAR)
    assert customer.code() == "admitted"
    form = {"key": key.pk, "reason": REASON}

    assert staff.post(url_of(team, "freeze-key"), form).status_code == 302

    assert customer.code() == "invalid_api_key"
    assert staff.post(url_of(team, "freeze-key"), form).status_code == 200, "only once"
    page = signed_in(User.objects.get(email="alice@example.com"))
    page.post(f"/settings/apikeys/{key.pk}/edit", {"name": "x"})
    key.refresh_from_db()
    assert key.name == "Alice's key", "its team can't bring it back"
    row = staff.get(f"/admin/accounts/apikey/{key.pk}/change/").content.decode()
    assert 'name="expires_at_0"' not in row, "nor can staff by its expiry"
    assert staff.post(url_of(team, "unfreeze-key"), form).status_code == 302
    assert customer.code() == "admitted"
    key.refresh_from_db()
    assert (key.expires_at, key.frozen_at, key.unfrozen_expires_at) == (expiry, None, None)


def test_a_frozen_team_is_refused_until_it_is_unfrozen(
    staff: Client, team: Team, alices_key: IssuedKey, alices_account: CreditAccount
) -> None:
    customer = customer_of(alices_account, alices_key, DOLLAR)
    staff.post(url_of(team, "freeze"), {"reason": REASON})
    assert customer.code() == "team_suspended"
    assert REASON in staff.get(url_of(team)).content.decode()
    staff.post(url_of(team, "unfreeze"), {"reason": REASON})
    assert customer.code() == "admitted"


def test_limits_plan_and_tags_are_those_of_the_form(
    staff: Client, team: Team, alices_key: IssuedKey, alice: User
) -> None:
    for name in ("limits", "plan", "tags", "note"):
        staff.post(url_of(team, name), fields_of(name, team, alices_key, alice))
    team.refresh_from_db()
    assert (team.concurrent_requests, team.max_keys) == (7, None)
    assert (team.plan.title, team.tags) == ("Large", ["beta", "vip"])
    changed = AuditEntry.objects.get(action="team.plan_changed")
    assert changed.detail["to"] == "Large"
    log = signed_in(alice).get("/team/audit").content.decode()
    assert "Plan changed" in log
    assert "vip" not in log
    assert "invoices" not in log, "a note is for staff alone"


def test_a_member_is_signed_out_everywhere(staff: Client, team: Team, alice: User) -> None:
    browser = signed_in(alice)
    session = browser.session.session_key
    UserSession.objects.create(
        user=alice, session_key=session, ip="192.0.2.1", user_agent="a browser"
    )
    assert browser.get("/dashboard").status_code == 200
    staff.post(url_of(team, "sessions"), {"member": alice.pk, "reason": REASON})
    assert browser.get("/dashboard").status_code == 302
    assert not UserSession.objects.filter(user=alice).exists()
    entry = AuditEntry.objects.get(action="account.sessions_ended")
    assert entry.detail["sessions"] == 1


def test_an_invitation_and_a_link_for_a_new_password_are_sent_again(
    staff: Client, team: Team, alice: User
) -> None:
    actor = Actor(team=team, user=alice, role=Role.OWNER)
    invitation, token = invitations.invite(actor, "guest@example.com", Role.DEVELOPER)
    for email in (f"invitation:{invitation.pk}", f"password:{alice.pk}"):
        answer = staff.post(url_of(team, "email"), {"email": email, "reason": REASON})
        assert answer.status_code == 302
    invited, password = mail.outbox
    assert (invited.to, password.to) == (["guest@example.com"], ["alice@example.com"])
    assert invitations.find(token) is None, "the link that was sent before is no longer valid"
    link = re.search(r"/invitations/([\w-]{20,})", str(invited.body))
    assert link is not None
    assert invitations.find(link[1]) == invitation
    assert "/accounts/password/reset/key/" in str(password.body)


def test_forms_take_no_rows_of_other_teams(
    staff: Client, team: Team, charlies_key: IssuedKey, charlie: User
) -> None:
    for action, form in (
        ("freeze-key", {"key": charlies_key.key.pk}),
        ("sessions", {"member": charlie.pk}),
        ("email", {"email": f"password:{charlie.pk}"}),
    ):
        answer = staff.post(url_of(team, action), {**form, "reason": REASON})
        assert answer.context["form"].errors, action
    assert not AuditEntry.objects.exists()


def test_an_action_that_does_not_exist_is_not_found(staff: Client, team: Team) -> None:
    assert staff.get(url_of(team, "delete")).status_code == 404
    assert staff.put(url_of(team, "grant")).status_code == 405
