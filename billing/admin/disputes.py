"""Admin queues of disputes and early fraud warnings."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from accounts.models import Team, User
from accounts.staff_rules import may_act_on
from billing.admin.fields import NanosAdminField, ReadOnlyAdmin, dollars, dollars_of_cents
from billing.admin.refunds import link, transfers_link
from billing.models import Dispute, FraudWarning, Order
from billing.payments import disputes
from billing.pricing.money import cents_text, dollars_short_text

_RELATED = ("order__team", "subscription_payment__subscription__team", "handled_by")
_SEARCH_FIELDS = (
    "=stripe_id",
    "=order__payment_intent_id",
    "order__team__slug",
    "subscription_payment__subscription__team__slug",
)


class HandleForm(forms.Form):
    """The form that marks a dispute or a warning as handled."""

    note = forms.CharField(
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="For staff only. The customer does not see it.",
    )
    resumes_keys = forms.BooleanField(
        label="Resume the team's keys",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="If cleared, paused keys stay paused until someone lifts the team's suspension.",
    )


class CorrectionForm(forms.Form):
    """The form that gives a team credits for a dispute ahead of Stripe."""

    amount = NanosAdminField(
        label="Credits, $", help_text="Taken back from what Stripe reinstates of the dispute later."
    )
    note = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="Shown on the team's statement.",
    )


class QueueFilter(admin.SimpleListFilter):
    """A filter of open and handled cases."""

    title = "queue"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices."""
        return [("open", "Open"), ("handled", "Handled")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the choice."""
        if self.value() is None:
            return queryset
        return queryset.filter(handled_at__isnull=self.value() == "open")


class CaseAdmin(ReadOnlyAdmin):
    """A queue of cases, open ones first, each handled on its own page."""

    list_select_related = _RELATED
    search_fields = _SEARCH_FIELDS
    ordering: ClassVar[Any] = (F("handled_at").asc(nulls_first=True), "-created_at")
    actions_detail: Any = ("handle",)

    def has_handle_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether the user may handle cases, which are otherwise read-only."""
        return request.user.has_perm(f"billing.change_{self.model._meta.model_name}")

    @admin.display(description="Payment")
    def payment_link(self, case: disputes.Case) -> str:
        """Return a link to the order, or the name of a plan's payment."""
        source = case.source
        if isinstance(source, Order):
            return link(reverse("admin:billing_order_change", args=[source.pk]), case.payment)
        return case.payment

    @admin.display(description="Team")
    def team_link(self, case: disputes.Case) -> str:
        """Return a link to the team, where its suspension is."""
        team = case.team
        return link(reverse("admin:accounts_team_change", args=[team.pk]), str(team))

    @admin.display(description="Keys")
    def keys(self, case: disputes.Case) -> str:
        """Return whether the team's keys are accepted."""
        return _keys_of(case.team)

    @action(  # type: ignore[operator]  # unfold's annotations
        description="Handle…", url_path="handle", permissions=["handle"]
    )
    def handle(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form, or mark the case as handled with the submitted note."""
        case = get_object_or_404(self.get_queryset(request), pk=unquote(object_id))
        if not may_act_on(request, case.team):
            raise PermissionDenied
        form = HandleForm(request.POST or None, initial={"note": case.note})
        back = f"admin:billing_{self.model._meta.model_name}_change"
        if form.is_valid() and isinstance(request.user, User):
            resumes_keys = form.cleaned_data["resumes_keys"]
            with transaction.atomic():
                result = disputes.handle(
                    case, form.cleaned_data["note"], request.user, resumes_keys=resumes_keys
                )
                self.log_change(request, case, "Handled.")
            _report(request, result, resumes_keys=resumes_keys)
            return redirect(back, quote(case.pk))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Handle {self.model._meta.verbose_name} of {case.payment}",
            "opts": self.model._meta,
            "original": case,
            "facts": self.facts(case),
            "form": form,
            "action_label": "Mark as handled",
            "back_url": reverse(back, args=[quote(case.pk)]),
        }
        return TemplateResponse(request, "admin/billing/action_form.html", context)

    def facts(self, case: Any) -> list[tuple[str, str]]:
        """Return the facts shown above the form, as labels and values."""
        found = [
            ("Team", str(case.team)),
            ("Payment", case.payment),
            ("Keys", _keys_of(case.team)),
        ]
        if case.handled_at:
            found.append(("Handled", f"{case.handled_at:%Y-%m-%d %H:%M} UTC"))
        return found


@admin.register(Dispute)
class DisputeAdmin(CaseAdmin):
    """Disputes. Evidence is submitted at Stripe."""

    list_display = (
        "created_at",
        "team_link",
        "payment_link",
        dollars_of_cents("amount_cents"),
        "status",
        "reason",
        "evidence_due_at",
        "keys",
        "handled_at",
        "handled_by",
        "stripe_id",
    )
    list_filter = (QueueFilter, "status", "reason", "is_withdrawn", "created_at")
    actions_detail: Any = ("handle", "correct")
    fields: ClassVar[Any] = (
        "stripe_id",
        "team_link",
        "keys",
        "payment_link",
        dollars_of_cents("amount_cents"),
        "status",
        "reason",
        "evidence_due_at",
        "is_withdrawn",
        "is_reinstated",
        dollars_of_cents("reinstated_cents"),
        dollars("revenue_nanos", "Moved out of revenue, $"),
        dollars("corrected_nanos", "Granted by staff ahead of Stripe, $"),
        dollars("credit_nanos", "Credits clawed back, $"),
        dollars("owed_nanos", "Of which already spent, $"),
        "collected_at",
        "ledger",
        "created_at",
        "handled_at",
        "handled_by",
        "note",
    )
    readonly_fields: ClassVar[Any] = fields

    @admin.display(description="Ledger")
    def ledger(self, dispute: Dispute) -> str:
        """Return a link to the dispute's transfers."""
        return transfers_link(dispute.stripe_id)

    def facts(self, case: Any) -> list[tuple[str, str]]:
        """Return the facts shown above the form, as labels and values."""
        money = f"{cents_text(case.amount_cents)}, {case.status} ({case.reason})"
        back = cents_text(case.reinstated_cents)
        return [("Disputed", money), ("Reinstated by Stripe", back), *super().facts(case)]

    def has_correct_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether the user may give credits: as for a refund."""
        return request.user.has_perm("billing.add_refund")

    @action(  # type: ignore[operator]  # unfold's annotations
        description="Grant credits…", url_path="correct", permissions=["correct"]
    )
    def correct(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form, or give the team credits ahead of what Stripe may reinstate."""
        dispute = get_object_or_404(self.get_queryset(request), pk=unquote(object_id))
        if not may_act_on(request, dispute.team):
            raise PermissionDenied
        form = CorrectionForm(request.POST or None)
        back = reverse("admin:billing_dispute_change", args=[quote(dispute.pk)])
        if form.is_valid() and isinstance(request.user, User):
            data = form.cleaned_data
            try:
                with transaction.atomic():
                    disputes.correct(dispute, data["amount"], data["note"], request.user)
                    self.log_change(request, dispute, "Credits granted.")
            except ValueError:
                most = dollars_short_text(disputes.correctable_nanos(dispute))
                form.add_error("amount", f"Enter an amount up to ${most}.")
            else:
                messages.success(request, "The credits have been granted.")
                return redirect(back)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Grant credits for the dispute of {dispute.payment}",
            "opts": self.model._meta,
            "original": dispute,
            "facts": self.facts(dispute),
            "form": form,
            "action_label": "Grant credits",
            "back_url": back,
        }
        return TemplateResponse(request, "admin/billing/action_form.html", context)


@admin.register(FraudWarning)
class FraudWarningAdmin(CaseAdmin):
    """Early fraud warnings. A refund now is cheaper than a dispute later."""

    list_display = (
        "created_at",
        "team_link",
        "payment_link",
        "fraud_type",
        "keys",
        "handled_at",
        "handled_by",
        "stripe_id",
    )
    list_filter = (QueueFilter, "fraud_type", "created_at")
    fields: ClassVar[Any] = (
        "stripe_id",
        "team_link",
        "keys",
        "payment_link",
        "fraud_type",
        "created_at",
        "handled_at",
        "handled_by",
        "note",
    )
    readonly_fields: ClassVar[Any] = fields

    def facts(self, case: Any) -> list[tuple[str, str]]:
        """Return the facts shown above the form, as labels and values."""
        return [("Warning", case.fraud_type.replace("_", " ")), *super().facts(case)]


def _keys_of(team: Team) -> str:
    if team.suspended_at is None:
        return "Accepted"
    return team.suspended_reason or "Suspended by staff"


def _report(request: HttpRequest, result: disputes.HandlingResult, *, resumes_keys: bool) -> None:
    if result.is_resumed:
        messages.success(request, "Handled. The team's keys are active again.")
    elif resumes_keys and result.open_cases:
        others = ", ".join(each.stripe_id for each in result.open_cases)
        messages.warning(request, f"Handled. The keys stay paused because of {others}.")
    elif resumes_keys:
        messages.info(request, "Handled. The keys were not paused because of this.")
    else:
        messages.success(request, "Handled.")
