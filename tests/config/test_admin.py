"""Staff's pages: all there, quick, and the ledger's for reading alone."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from accounts.models import (
    ApiKey,
    AppAuthorization,
    AuditEntry,
    DeviceSignIn,
    Invitation,
    NotificationSettings,
    Plan,
    SentNotice,
    StaffInvitation,
    StaffNote,
    Team,
    User,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from api.models import (
    AlertDelivery,
    ChatJob,
    IdempotentRequest,
    KeyAddress,
    KeyGuard,
    KeyIncident,
    KeyNetwork,
    MaintenanceMode,
    ModelFigures,
    ModelHealth,
    ModelHealthHour,
    ReportedUsage,
    RouteEjection,
    Service,
    StatusSubscriber,
    TokenRatio,
    Upstream,
    VideoJob,
)
from billing import models
from tests.cast import signed_in
from tests.config.admin_rows import add_rows
from tests.config.price_pages import add_url, price_form, publish
from tests.support.database import shared_rows
from tests.support.sampling import sampled

pytestmark = pytest.mark.django_db

OURS = [
    model
    for label in ("accounts", "billing", "api")
    for model in apps.get_app_config(label).get_models()
]
LEDGER = [
    *(models.CreditAccount, models.Transfer, models.Reservation, models.UsageRecord),
    *(models.KeySpend, models.RateWindow, models.UsageHour, models.CatalogueVersion),
    *(models.LedgerAlert, AlertDelivery, StatusSubscriber),
    *(KeyAddress, KeyGuard, KeyIncident, KeyNetwork),
    *(ModelFigures, ModelHealth, ModelHealthHour, RouteEjection, TokenRatio),
    *(ChatJob, IdempotentRequest, VideoJob, AppAuthorization, DeviceSignIn),
    *(AuditEntry, Invitation, SentNotice, models.PaymentCustomer, models.Order, models.StripeEvent),
    *(models.CreditLot, models.Refund, models.Dispute, models.FraudWarning, models.AutoTopUp),
    *(models.Subscription, models.SubscriptionPayment, models.PlanPrice, models.PlanRefund),
    *(models.ProcessLease, models.FreeWindow, models.LotMovement),
    *(StaffInvitation, StaffNote, models.ManualPosting, models.ContractPrice),
    *(models.ServiceHour, models.MarginDay, models.TeamDay, models.TaskRun),
    *(models.UpstreamStatement, models.StatementChunk, models.StatementLine),
    *(models.UsageCorrection, models.SigningKey, models.DayRoot, ReportedUsage),
    *(models.BudgetRule, models.BudgetSpend, models.BudgetWarning),
    *(WebhookDelivery, WebhookEndpoint, WebhookEvent),
    *(models.CodeRedemption, models.ReferralLink, models.Referral, NotificationSettings),
]


def url(model: Any, page: str, *arguments: Any) -> str:
    meta = model._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}", args=arguments)


@pytest.fixture(scope="module", autouse=True)
def rows(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A row of every model, of the whole module."""
    with shared_rows(django_db_blocker):
        add_rows(1)
        yield


def a_row_of(model: Any) -> Any:
    row = model._default_manager.order_by("-pk").first()
    assert row is not None, f"add_rows makes no {model.__name__}"
    return row


def test_every_model_of_ours_is_registered_with_search_filters_and_columns() -> None:
    for model in OURS:
        page = admin.site._registry[model]
        assert page.search_fields, model
        assert page.list_filter, model
        assert len(page.list_display) > 1, model


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_every_page_of_every_model_answers(staff: Client, model: Any) -> None:
    page = admin.site._registry[model]
    assert staff.get(url(model, "changelist")).status_code == 200
    assert staff.get(url(model, "changelist"), {"q": "alice"}).status_code == 200
    assert staff.get(url(model, "change", a_row_of(model).pk)).status_code == 200
    adds = staff.get(url(model, "add")).status_code
    closed = model in LEDGER or model in {Service, MaintenanceMode}  # which have one row
    assert adds == (403 if closed else 200), page


@pytest.mark.parametrize(
    "text", ["x", "1", "9" * 30, "é", "'\"\\", "00000000-0000-0000-0000-000000000000"]
)
def test_a_search_for_anything_answers(staff: Client, text: str) -> None:
    """The lists' queries, and one whole page: what surrounds a list is the same for any text."""
    assert staff.get(url(Team, "changelist"), {"q": text}).status_code == 200
    request = RequestFactory().get("/", {"q": text})
    request.user = User.objects.get(email="staff@example.com")
    for model in sampled(OURS, 12):
        found = admin.site._registry[model].get_changelist_instance(request)
        assert found.query == text, model
        assert len(found.result_list) == found.result_count, model


@pytest.mark.usefixtures("bare_pages")
def test_a_lists_queries_do_not_grow_with_its_rows(staff: Client) -> None:
    def queries(model: Any) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert staff.get(url(model, "changelist")).status_code == 200
        return len(captured)

    for model in OURS:
        queries(model)  # The first page of a process also fills caches, as of content types.
    few = {model: queries(model) for model in OURS}
    for n in range(2, 8):
        add_rows(n)
    grown = {model for model in OURS if queries(model) > few[model]}
    assert grown == set()


@pytest.mark.usefixtures("bare_pages")
@pytest.mark.parametrize("model", LEDGER, ids=lambda model: model.__name__)
def test_ledger_rows_are_not_added_changed_or_deleted_by_url_either(
    staff: Client, model: Any
) -> None:
    row = a_row_of(model)
    before = list(model._default_manager.values())
    page = staff.get(url(model, "change", row.pk)).content.decode()
    assert 'name="_save"' not in page
    assert url(model, "delete", row.pk) not in page
    assert staff.post(url(model, "change", row.pk), {"posted_nanos": "1"}).status_code == 403
    assert staff.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    assert staff.get(url(model, "delete", row.pk)).status_code == 403
    assert staff.post(url(model, "add"), {}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    staff.post(url(model, "changelist"), action)
    assert list(model._default_manager.values()) == before


@pytest.mark.parametrize("model", [User, Team, ApiKey], ids=lambda model: model.__name__)
def test_who_is_in_the_books_is_not_deleted(staff: Client, model: Any) -> None:
    row = a_row_of(model)
    assert staff.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    action = {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    staff.post(url(model, "changelist"), action)
    assert model.objects.filter(pk=row.pk).exists()


def test_an_alert_is_marked_as_handled_once(staff: Client) -> None:
    alert = models.LedgerAlert.objects.get()
    action = {"action": "mark_as_handled", "_selected_action": [alert.pk]}
    staff.post(url(models.LedgerAlert, "changelist"), action)
    alert.refresh_from_db()
    first = alert.handled_at
    assert first is not None
    staff.post(url(models.LedgerAlert, "changelist"), action)
    alert.refresh_from_db()
    assert alert.handled_at == first


def test_money_is_shown_in_dollars(staff: Client) -> None:
    assert "$1.000000000" in staff.get(url(models.CreditAccount, "changelist")).content.decode()
    assert "$1.000000000" in staff.get(url(models.Transfer, "changelist")).content.decode()


# Prices


def test_a_price_is_typed_in_dollars_and_kept_exactly(staff: Client) -> None:
    product = models.Product.objects.create(sku="new")
    form = price_form(
        input_nanos_per_million="0.0375", output_nanos_per_million="$2.50", image_nanos="0.015"
    )
    response = publish(staff, add_url(product), form)
    assert response.status_code == 302, response.context["form"].errors
    price = product.price_versions.get()
    assert price.input_nanos_per_million == 37_500_000
    assert price.output_nanos_per_million == 2_500_000_000
    assert price.image_nanos == 15_000_000
    assert price.cached_input_nanos_per_million is None
    page = staff.get(url(models.PriceVersion, "change", price.pk)).content.decode()
    assert 'value="0.0375"' in page


@pytest.mark.parametrize("text", ["", "free", "-1", "1e9", "0.0000000001", "9" * 30])
def test_a_price_that_is_no_amount_is_refused(staff: Client, text: str) -> None:
    product = models.Product.objects.create(sku="new")
    response = publish(staff, add_url(product), price_form(input_nanos_per_million=text))
    assert response.status_code == 200
    assert "input_nanos_per_million" in response.context["form"].errors
    assert not product.price_versions.exists()


def test_a_price_that_took_effect_is_neither_changed_nor_deleted(staff: Client) -> None:
    price = models.PriceVersion.objects.get()
    form = price_form(input_nanos_per_million="99")
    assert staff.post(url(models.PriceVersion, "change", price.pk), form).status_code == 403
    assert (
        staff.post(url(models.PriceVersion, "delete", price.pk), {"post": "y"}).status_code == 403
    )
    action = {"action": "delete_selected", "_selected_action": [price.pk], "post": "yes"}
    staff.post(url(models.PriceVersion, "changelist"), action)
    assert models.PriceVersion.objects.get().input_nanos_per_million == 0


def test_a_price_to_come_can_be_changed(staff: Client) -> None:
    price = models.PriceVersion.objects.get()
    later = models.PriceVersion.objects.create(
        product=price.product, effective_from=timezone.now() + timedelta(days=1)
    )
    form = price_form(input_nanos_per_million="99")
    assert publish(staff, url(models.PriceVersion, "change", later.pk), form).status_code == 302
    later.refresh_from_db()
    assert later.input_nanos_per_million == 99_000_000_000


# The service


@pytest.mark.parametrize(
    ("prefix", "is_taken"),
    [("weatmood-", True), ("sk-", True), ("sk", False), ("a_b-", False), ("", False)],
)
def test_a_key_prefix_ends_in_a_dash(staff: Client, prefix: str, is_taken: bool) -> None:
    form = {"name": "S", "key_prefix": prefix, "is_open": "on"}
    response = staff.post(url(Service, "change", 1), form)
    assert response.status_code == (302 if is_taken else 200)
    assert (Service.objects.get().key_prefix == prefix) == is_taken


# Users


def test_a_user_is_made_with_a_password_and_signs_in(staff: Client) -> None:
    form = {
        "email": "New@Example.com",
        "name": "New",
        "usable_password": "true",
        "password1": "correct horse battery",
        "password2": "correct horse battery",
        "memberships-TOTAL_FORMS": "0",
        "memberships-INITIAL_FORMS": "0",
    }
    response = staff.post(url(User, "add"), form)
    assert response.status_code == 302, response.context["adminform"].form.errors
    assert User.objects.get(name="New").email == "new@example.com"
    assert Client().login(username="new@example.com", password="correct horse battery")


def test_a_password_is_changed_on_its_own_page_and_never_shown(staff: Client, alice: User) -> None:
    page = reverse("admin:auth_user_password_change", args=[alice.pk])
    assert staff.get(page).status_code == 200
    form = {
        "usable_password": "true",
        "password1": "another horse battery",
        "password2": "another horse battery",
    }
    assert staff.post(page, form).status_code == 302
    assert Client().login(username="alice@example.com", password="another horse battery")
    alice.refresh_from_db()
    assert alice.password not in staff.get(url(User, "change", alice.pk)).content.decode()


def test_staff_without_all_powers_hand_none_out_and_touch_nobody_who_has_them(
    staff: Client, alice: User
) -> None:
    clerk = User.objects.create_user("clerk@example.com", is_staff=True)
    permissions = apps.get_model("auth", "Permission").objects
    clerk.user_permissions.set(permissions.filter(content_type__app_label="accounts"))
    browser = signed_in(clerk)
    boss = User.objects.get(email="staff@example.com")
    form = {
        "email": "alice@example.com",
        "name": "Alice the Second",
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
        "memberships-TOTAL_FORMS": "0",
        "memberships-INITIAL_FORMS": "0",
    }
    assert browser.post(url(User, "change", alice.pk), form).status_code == 302
    alice.refresh_from_db()
    assert alice.name == "Alice the Second"
    assert not alice.is_superuser
    assert not alice.is_staff
    assert browser.post(url(User, "change", boss.pk), form).status_code == 403
    page = reverse("admin:auth_user_password_change", args=[boss.pk])
    assert browser.post(page, {"password1": "x", "password2": "x"}).status_code == 403


def test_customers_are_not_let_in(alice: User) -> None:
    browser = signed_in(alice)
    for model in OURS:
        response = browser.get(url(model, "changelist"))
        assert response.status_code == 302
        assert "/admin/login/" in response["Location"]


def test_an_offer_is_priced_in_dollars(staff: Client) -> None:
    plan = Plan.objects.create(name="sold", title="Sold")
    form = {"plan": plan.pk, "credit_nanos": "25", "credit_days": 31, "position": 1}
    address = url(models.PlanOffer, "add")
    for price in ("0.49", "19.995", "-1", "many"):
        page = staff.post(address, form | {"price_cents": price, "is_offered": "on"})
        assert page.status_code == 200, price
    assert not models.PlanOffer.objects.filter(plan=plan).exists()
    assert staff.post(address, form | {"price_cents": "19.99"}).status_code == 302
    offer = models.PlanOffer.objects.get(plan=plan)
    assert (offer.price_cents, offer.credit_nanos, offer.is_offered) == (1999, 25 * 10**9, False)
    page = staff.get(url(models.PlanOffer, "change", offer.pk)).content.decode()
    assert 'value="19.99"' in page


def test_an_upstreams_base_url_must_be_an_address(staff: Client) -> None:
    form = {
        "name": "new",
        "dialect": "openai_chat",
        "max_concurrency": "1",
        "connect_timeout_seconds": "1",
        "first_token_timeout_seconds": "1",
        "idle_timeout_seconds": "1",
        "total_timeout_seconds": "1",
    }
    for wrong in ("", "ftp://host", "http://host/?query=1", "http://user@host"):
        response = staff.post(url(Upstream, "add"), form | {"base_url": wrong})
        assert response.context["adminform"].form.errors.keys() == {"base_url"}
    good = form | {"base_url": "https://host.example:9/v1"}
    assert staff.post(url(Upstream, "add"), good).status_code == 302
