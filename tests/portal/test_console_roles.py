"""The roles that ship: the table in the documentation is what they may do, and all they may do."""

import re
import uuid
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, Team, User
from api.models import Upstream
from billing.models import ContractPrice, CreditAccount, Dispute, ManualPosting, Order, Transfer
from portal.console.actions import ACTIONS
from tests.cast import IssuedKey, signed_in

pytestmark = pytest.mark.django_db

DOCUMENT = Path(__file__).resolve().parents[2] / "platform/docs/operations.md"
ROLES = ["Support", "Finance", "Operator", "Auditor", "Owner"]
ROW = re.compile(r"^\| [^|]+ \| `(\w+\.\w+)` \| ((?:yes|no)(?: \| (?:yes|no)){4}) \|$", re.M)
TABLE = {
    permission: dict(zip(ROLES, [word == "yes" for word in words.split(" | ")], strict=True))
    for permission, words in ROW.findall(DOCUMENT.read_text())
}


def of_role(role: str) -> Client:
    """Return the browser of somebody with the role alone."""
    user = User.objects.create_user(f"{role.lower()}@example.com", is_staff=True)
    user.groups.set([Group.objects.get(name=role)])
    return signed_in(user)


def pages_of(permission: str, team: Team, order: Order) -> list[str]:
    """Return the pages that the permission opens."""
    pages = [
        reverse("console:action", args=[team.pk, action.name])
        for action in ACTIONS.values()
        if action.permission == permission
    ]
    further = {
        "accounts.view_team": [f"/admin/customers/{team.pk}", "/admin/search?q=nothing"],
        "billing.view_upstreamstatement": ["/admin/reconciliation"],
        "accounts.invite_staff": ["/admin/staff"],
        "admin.view_logentry": ["/admin/admin/logentry/", "/admin/staff-log.csv"],
        "billing.add_refund": [f"/admin/billing/order/{order.pk}/refund/"],
        "billing.change_dispute": ["/admin/billing/dispute/du_5F1/handle/"],
        "billing.approve_manualposting": [
            f"/admin/billing/manualposting/{posting.pk}/approve/"
            for posting in ManualPosting.objects.all()
        ],
        "billing.view_margins": [
            "/admin/margins",
            "/admin/margins.csv",
            "/admin/margins/losses",
        ],
        "billing.approve_contractprice": [
            f"/admin/billing/contractprice/{contract.pk}/approve/"
            for contract in ContractPrice.objects.all()
        ],
        "billing.add_priceversion": ["/admin/billing/priceversion/add/"],
        "portal.change_brand": [
            *("/admin/brand", "/admin/brand/preview", "/admin/brand/preview/home"),
            *("/admin/brand/emails/email_code", "/admin/brand/preview/email-email_code"),
        ],
    }
    return pages + further.get(permission, [])


@pytest.fixture
def order(alices_team: Team, alices_account: CreditAccount) -> Order:
    """An order of Alice's, disputed, and a posting to confirm."""
    order = Order.objects.create(
        team=alices_team,
        amount_cents=1000,
        credit_nanos=10**10,
        is_live=False,
        state="paid",
        payment_intent_id="pi_1",
    )
    Dispute.objects.create(stripe_id="du_1", order=order, amount_cents=1, status="x")
    ManualPosting.objects.create(team=alices_team, kind="grant", amount_nanos=1, reason="x")
    ContractPrice.objects.create(
        team=alices_team, effective_from=timezone.now(), factor_millionths=850_000, reason="x"
    )
    return order


def test_the_table_has_every_act() -> None:
    assert len(TABLE) >= 25
    assert {action.permission for action in ACTIONS.values()} <= set(TABLE)
    custom = {
        "approve_contractprice",
        "approve_manualposting",
        "adjust_balance",
        "correct_usage",
        "give_goodwill",
        "grant_credits",
        "set_contractprice",
    }
    assert {f"billing.{name}" for name in custom} <= set(TABLE)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_do_what_the_table_says(role: str, alices_team: Team, order: Order) -> None:
    browser = of_role(role)
    user = User.objects.get(email=f"{role.lower()}@example.com")
    wrong = []
    for permission, roles in TABLE.items():
        if user.has_perm(permission) != roles[role]:
            wrong.append(permission)
        wrong += [
            page
            for page in pages_of(permission, alices_team, order)
            if browser.get(page).status_code != (200 if roles[role] else 403)
        ]
    assert wrong == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_views_every_list(role: str) -> None:
    browser = of_role(role)
    for label in ("accounts", "billing", "api"):
        for model in apps.get_app_config(label).get_models():
            url = reverse(f"admin:{label}_{model._meta.model_name}_changelist")
            assert browser.get(url).status_code == 200, url


def test_an_auditor_changes_nothing(alices_team: Team, order: Order, alices_key: IssuedKey) -> None:
    browser = of_role("Auditor")
    codenames = Group.objects.get(name="Auditor").permissions.values_list("codename", flat=True)
    assert all(codename.startswith("view_") for codename in codenames)
    assert "view_as_customer" not in codenames
    form = {"id": str(uuid.uuid4()), "amount": "1", "reason": "x", "key": alices_key.key.pk}
    for action in ACTIONS.values():
        url = reverse("console:action", args=[alices_team.pk, action.name])
        assert browser.post(url, form).status_code == 403, action.name
    assert browser.post(f"/admin/billing/order/{order.pk}/refund/", form).status_code == 403
    assert not AuditEntry.objects.exists()
    assert not Transfer.objects.exists()


@pytest.mark.parametrize("role", ROLES)
def test_no_role_makes_staff_or_reads_secrets(role: str) -> None:
    permissions = Group.objects.get(name=role).permissions.select_related("content_type")
    labels = {each.content_type.app_label for each in permissions}
    assert labels <= {"accounts", "billing", "api", "admin", "portal"}
    portal = {each.codename for each in permissions if each.content_type.app_label == "portal"}
    assert portal <= {"change_brand"}
    browser = of_role(role)
    user = User.objects.get(email=f"{role.lower()}@example.com")
    form = {"is_superuser": "on", "is_staff": "on", "email": user.email, "name": "x"}
    assert browser.post(f"/admin/accounts/user/{user.pk}/change/", form).status_code == 403
    assert browser.get("/admin/accounts/apikey/add/").status_code == 403
    upstream = Upstream.objects.create(name="maker", base_url="http://127.0.0.1/v1")
    assert browser.get(f"/admin/api/upstream/{upstream.pk}/change/").status_code == 200
    assert not User.objects.get(pk=user.pk).is_superuser


def test_migrate_gives_the_groups_their_permissions_again() -> None:
    support = Group.objects.get(name="Support")
    wanted = set(support.permissions.values_list("pk", flat=True))
    support.permissions.set(Permission.objects.filter(codename="grant_credits"))
    call_command("migrate", "portal", verbosity=0)
    assert set(support.permissions.values_list("pk", flat=True)) == wanted
