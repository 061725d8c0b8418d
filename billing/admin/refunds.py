"""Staff's pages for refunds: what went back, and the form on an order that gives more back."""

import uuid
from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldBooleanWidget

from accounts.models import User
from billing.admin.fields import CentsField, ReadOnlyAdmin, dollars, dollars_of_cents
from billing.models import Order, Refund
from billing.payments import refunds
from billing.payments.shares import left_of
from billing.pricing.money import cents_text


class RefundForm(forms.Form):
    """How much of an order goes back, and why. A form that is sent twice is one refund."""

    id = forms.UUIDField(widget=forms.HiddenInput)
    amount = CentsField(
        label="Amount before tax, $", help_text="Its tax goes back with it, in proportion."
    )
    reason = forms.CharField(
        max_length=300,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="Kept with the refund and in the team's audit log.",
    )
    is_forced = forms.BooleanField(
        label="Force",
        required=False,
        widget=UnfoldBooleanWidget,
        help_text="Refund credit that is spent, too. What is spent is then given away.",
    )


class RefundsOrder(ReadOnlyAdmin):
    """The part of an order's page that gives money back."""

    actions_detail: Any = ("refund",)

    def has_refund_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Tells whether the user may give money back."""
        return request.user.has_perm("billing.add_refund")

    @action(  # type: ignore[operator]  # unfold's annotations
        description="Refund…", url_path="refund", permissions=["refund"]
    )
    def refund(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks how much and why, and has Stripe give it back."""
        order = get_object_or_404(Order.objects.select_related("team"), pk=object_id)
        initial = {"id": uuid.uuid4(), "amount": refunds.unspent_cents(order)}
        form = RefundForm(request.POST or None, initial=initial)
        if form.is_valid() and isinstance(request.user, User):
            refund = _request(form, order, request.user)
            if refund is not None:
                _tell(request, refund)
                return redirect("admin:billing_refund_change", refund.pk)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Refund order {order.number}",
            "opts": self.model._meta,
            "original": order,
            "facts": _facts(order),
            "form": form,
            "deed": "Refund",
            "back_url": reverse("admin:billing_order_change", args=[order.pk]),
        }
        return TemplateResponse(request, "admin/billing/deed.html", context)


@admin.register(Refund)
class RefundAdmin(ReadOnlyAdmin):
    """What went back, and why."""

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
        dollars("credit_nanos", "Credits taken, $"),
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
        """Shows whose order it is of."""
        return str(refund.order.team)

    @admin.display(description="Order")
    def order_link(self, refund: Refund) -> str:
        """Leads to the order."""
        url = reverse("admin:billing_order_change", args=[refund.order_id])
        return link(url, f"Order {refund.order.number}")

    @admin.display(description="Ledger")
    def ledger(self, refund: Refund) -> str:
        """Leads to what was booked."""
        return transfers_link(str(refund.pk))


def link(url: str, text: str) -> str:
    """Returns a link that looks like unfold's own."""
    return format_html(
        '<a class="text-primary-600 dark:text-primary-500" href="{}">{}</a>', url, text
    )


def transfers_link(reference: str) -> str:
    """Returns a link to the transfers of a reference."""
    return link(f"{reverse('admin:billing_transfer_changelist')}?q={reference}", "Transfers")


def _request(form: RefundForm, order: Order, staff: User) -> Refund | None:
    """Asks for the refund; None: it can't be made, and the form says why."""
    said = form.cleaned_data
    try:
        return refunds.request_refund(
            order,
            said["amount"],
            reason=said["reason"],
            is_forced=said["is_forced"],
            staff=staff,
            refund_id=said["id"],
        )
    except refunds.RefundError as error:
        form.add_error(error.field, str(error))
        return None


def _tell(request: HttpRequest, refund: Refund) -> None:
    if refund.state == Refund.State.FAILED:
        text = f"Stripe made no refund: {refund.error} The credits are given again."
        messages.error(request, text)
    elif refund.state == Refund.State.REQUESTED:
        text = "Stripe did not answer. It is asked again every minute until it does."
        messages.warning(request, text)
    else:
        messages.success(request, "The refund is made.")


def _facts(order: Order) -> list[tuple[str, str]]:
    left = left_of(order)
    paid = cents_text(order.amount_cents) + (
        f" and {cents_text(order.tax_cents)} tax" if order.tax_cents else ""
    )
    return [
        ("Team", str(order.team)),
        ("Paid", paid if order.state == Order.State.PAID else f"{paid}, but it is {order.state}"),
        ("Not refunded yet", cents_text(left.amount_cents)),
        ("Of that unspent", cents_text(refunds.unspent_cents(order))),
    ]
