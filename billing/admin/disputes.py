"""Staff's queues of disputes and of early warnings of fraud."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldBooleanWidget

from accounts.models import Team, User
from billing.admin.fields import ReadOnlyAdmin, dollars, dollars_of_cents
from billing.admin.refunds import link, transfers_link
from billing.models import Dispute, FraudWarning, Order
from billing.payments import disputes, pauses
from billing.pricing.money import cents_text

_OF_ORDERS = ("order__team", "subscription_payment__subscription__team", "handled_by")
_SEARCHED = (
    "=stripe_id",
    "=order__payment_intent_id",
    "order__team__slug",
    "subscription_payment__subscription__team__slug",
)


class HandleForm(forms.Form):
    """What staff say of a dispute or a warning."""

    note = forms.CharField(
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="For your colleagues; the customer does not see it.",
    )
    resumes = forms.BooleanField(
        label="Accept the team's keys again",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="Left empty, keys that are paused stay so until somebody clears the team's "
        "suspension.",
    )


class QueueFilter(admin.SimpleListFilter):
    """What waits for somebody, and what somebody has dealt with."""

    title = "queue"
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Returns the choices."""
        return [("open", "Open"), ("handled", "Handled")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Returns the rows of the choice."""
        if self.value() is None:
            return queryset
        return queryset.filter(handled_at__isnull=self.value() == "open")


class TroubleAdmin(ReadOnlyAdmin):
    """A queue: what is open comes first, and is handled on a page of its own."""

    list_select_related = _OF_ORDERS
    search_fields = _SEARCHED
    ordering: ClassVar[Any] = (F("handled_at").asc(nulls_first=True), "-created_at")
    actions_detail: Any = ("handle",)

    def has_handle_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tells whether the user may handle what nobody may edit."""
        return request.user.has_perm(f"billing.change_{self.model._meta.model_name}")

    @admin.display(description="Payment")
    def payment_link(self, trouble: pauses.Trouble) -> str:
        """Leads to the order."""
        source = trouble.source
        if isinstance(source, Order):
            return link(reverse("admin:billing_order_change", args=[source.pk]), trouble.payment)
        return trouble.payment

    @admin.display(description="Team")
    def team_link(self, trouble: pauses.Trouble) -> str:
        """Leads to the team, where its suspension is."""
        team = trouble.team
        return link(reverse("admin:accounts_team_change", args=[team.pk]), str(team))

    @admin.display(description="Keys")
    def keys(self, trouble: pauses.Trouble) -> str:
        """Shows whether the team's keys are accepted."""
        return _keys_of(trouble.team)

    @action(  # type: ignore[operator]  # unfold's annotations
        description="Handle…", url_path="handle", permissions=["handle"]
    )
    def handle(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks for a note and what becomes of the keys."""
        trouble = get_object_or_404(self.get_queryset(request), pk=unquote(object_id))
        form = HandleForm(request.POST or None, initial={"note": trouble.note})
        back = f"admin:billing_{self.model._meta.model_name}_change"
        if form.is_valid() and isinstance(request.user, User):
            said = form.cleaned_data
            result = disputes.handle(trouble, said["note"], request.user, resumes=said["resumes"])
            _tell(request, result, resumes=said["resumes"])
            return redirect(back, quote(trouble.pk))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Handle the {self.model._meta.verbose_name} of {trouble.payment}",
            "opts": self.model._meta,
            "original": trouble,
            "facts": self.facts(trouble),
            "form": form,
            "deed": "Mark as handled",
            "back_url": reverse(back, args=[quote(trouble.pk)]),
        }
        return TemplateResponse(request, "admin/billing/deed.html", context)

    def facts(self, trouble: Any) -> list[tuple[str, str]]:
        """Returns what staff decide by."""
        found = [
            ("Team", str(trouble.team)),
            ("Payment", trouble.payment),
            ("Keys", _keys_of(trouble.team)),
        ]
        if trouble.handled_at:
            found.append(("Handled", f"{trouble.handled_at:%Y-%m-%d %H:%M} UTC"))
        return found


@admin.register(Dispute)
class DisputeAdmin(TroubleAdmin):
    """Payments that cardholders dispute. Evidence is handed in at Stripe."""

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
        dollars("credit_nanos", "Credits taken back, $"),
        dollars("owed_nanos", "Of that spent already, $"),
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
        """Leads to what was booked."""
        return transfers_link(dispute.stripe_id)

    def facts(self, trouble: Any) -> list[tuple[str, str]]:
        """Returns what staff decide by."""
        money = f"{cents_text(trouble.amount_cents)}, {trouble.status} ({trouble.reason})"
        return [("Disputed", money), *super().facts(trouble)]


@admin.register(FraudWarning)
class FraudWarningAdmin(TroubleAdmin):
    """Payments that a card's issuer holds for fraud. A refund now is cheaper than a dispute."""

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

    def facts(self, trouble: Any) -> list[tuple[str, str]]:
        """Returns what staff decide by."""
        return [("Warning", trouble.fraud_type.replace("_", " ")), *super().facts(trouble)]


def _keys_of(team: Team) -> str:
    if team.suspended_at is None:
        return "Accepted"
    return team.suspended_reason or "Suspended by staff"


def _tell(request: HttpRequest, result: disputes.Handled, *, resumes: bool) -> None:
    if result.is_resumed:
        messages.success(request, "Handled. The team's keys are accepted again.")
    elif resumes and result.still_open:
        others = ", ".join(each.stripe_id for each in result.still_open)
        messages.warning(request, f"Handled. The keys stay paused for {others}.")
    elif resumes:
        messages.info(request, "Handled. The keys were not paused for this.")
    else:
        messages.success(request, "Handled.")
