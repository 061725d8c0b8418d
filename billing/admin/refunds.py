"""Admin pages for refunds: the list, and the form on an order's page."""

import uuid
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldBooleanWidget

from accounts.models import User
from accounts.staff_rules import may_act_on
from billing.admin.fields import CentsAdminField, ReadOnlyAdmin, dollars, dollars_of_cents
from billing.models import ManualPosting, Order, Refund
from billing.payments import manual_postings, refunds
from billing.payments.refundable_part import refundable_part
from billing.pricing.money import cents_text


class RefundForm(forms.Form):
    """The amount and reason of a refund. A form that is submitted twice is one refund."""

    id = forms.UUIDField(widget=forms.HiddenInput)
    amount = CentsAdminField(
        label="Amount before tax, $", help_text="Tax is refunded in proportion."
    )
    reason = forms.CharField(
        max_length=300,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Stored with the refund and in the team's audit log.",
    )
    is_forced = forms.BooleanField(
        label="Force",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="Refund spent credits, too. The spent part becomes a goodwill loss.",
    )


class RefundableOrderAdmin(ReadOnlyAdmin):
    """The refund action of an order's page."""

    actions_detail: Any = ("refund",)

    def has_refund_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tell whether the user may make refunds."""
        return request.user.has_perm("billing.add_refund")

    @action(  # type: ignore[operator]  # unfold's annotations
        description="Refund…", url_path="refund", permissions=["refund"]
    )
    def refund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form, or request the refund that was submitted."""
        order = get_object_or_404(Order.objects.select_related("team"), pk=object_id)
        if not may_act_on(request, order.team):
            raise PermissionDenied
        initial = {"id": uuid.uuid4(), "amount": refunds.unspent_cents(order)}
        form = RefundForm(request.POST or None, initial=initial)
        if form.is_valid() and isinstance(request.user, User):
            refund = _request(form, order, request.user)
            if isinstance(refund, ManualPosting):
                messages.warning(request, "Another member of staff must confirm this refund.")
                return redirect("admin:billing_manualposting_change", refund.pk)
            if refund is not None:
                self.log_change(request, order, f"Refund of {cents_text(refund.amount_cents)}.")
                _report(request, refund)
                return redirect("admin:billing_refund_change", refund.pk)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Refund order {order.number}",
            "opts": self.model._meta,
            "original": order,
            "facts": _facts(order),
            "form": form,
            "action_label": "Refund",
            "back_url": reverse("admin:billing_order_change", args=[order.pk]),
        }
        return TemplateResponse(request, "admin/billing/action_form.html", context)


@admin.register(Refund)
class RefundAdmin(ReadOnlyAdmin):
    """Refunds and their reasons."""

    list_display = (
        "created_at",
        "order_link",
        "team",
        dollars_of_cents("amount_cents"),
        dollars_of_cents("tax_cents"),
        "state",
        "is_forced",
        "requested_by",
        "reason",
        "error",
    )
    list_filter = ("state", "is_forced", "created_at")
    list_select_related = ("order__team", "requested_by")
    search_fields = ("=id", "=stripe_id", "=order__payment_intent_id", "order__team__slug")
    ordering = ("-created_at",)
    fields: ClassVar[Any] = (
        "order_link",
        "team",
        dollars_of_cents("amount_cents"),
        dollars_of_cents("tax_cents"),
        dollars("credit_nanos", "Credits refunded, $"),
        "state",
        "error",
        "reason",
        "is_forced",
        "requested_by",
        "stripe_id",
        "ledger",
        "created_at",
        "ended_at",
    )
    readonly_fields: ClassVar[Any] = fields

    @admin.display(description="Team", ordering="order__team")
    def team(self, refund: Refund) -> str:
        """Return the team whose order it is."""
        return str(refund.order.team)

    @admin.display(description="Order")
    def order_link(self, refund: Refund) -> str:
        """Return a link to the order."""
        url = reverse("admin:billing_order_change", args=[refund.order_id])
        return link(url, f"Order {refund.order.number}")

    @admin.display(description="Ledger")
    def ledger(self, refund: Refund) -> str:
        """Return a link to the refund's transfers."""
        return transfers_link(str(refund.pk))


def link(url: str, text: str) -> str:
    """Return a link styled like unfold's own."""
    return format_html(
        '<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', url, text
    )


def transfers_link(reference: str) -> str:
    """Return a link to the transfers with this reference, of all kinds."""
    return link(f"{reverse('admin:billing_transfer_changelist')}?q={reference}", "Transfers")


def _request(form: RefundForm, order: Order, staff: User) -> Refund | ManualPosting | None:
    """Request the refund, or return None with the error added to the form."""
    data = form.cleaned_data
    try:
        return manual_postings.request_refund(
            order,
            data["amount"],
            reason=data["reason"],
            is_forced=data["is_forced"],
            staff=staff,
            refund_id=data["id"],
        )
    except refunds.RefundError as error:
        form.add_error(error.field, str(error))
        return None


def _report(request: HttpRequest, refund: Refund) -> None:
    if refund.state == Refund.State.FAILED:
        text = f"Stripe rejected the refund: {refund.error} The credits have been returned."
        messages.error(request, text)
    elif refund.state == Refund.State.REQUESTED:
        text = "Stripe didn't respond. The refund is retried every minute until it does."
        messages.warning(request, text)
    else:
        messages.success(request, "The refund has been made.")


def _facts(order: Order) -> list[tuple[str, str]]:
    remaining = refundable_part(order)
    paid = cents_text(order.amount_cents) + (
        f" and {cents_text(order.tax_cents)} tax" if order.tax_cents else ""
    )
    return [
        ("Team", str(order.team)),
        ("Paid", paid if order.state == Order.State.PAID else f"{paid} (order is {order.state})"),
        ("Not yet refunded", cents_text(remaining.amount_cents)),
        ("Of which unspent", cents_text(refunds.unspent_cents(order))),
    ]
