"""Admin page of contract prices, including those that wait for a second person."""

from collections.abc import Callable
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

from accounts.models import User
from accounts.staff_rules import may_act_on
from api.catalogue import contracts
from billing.admin.fields import ReadOnlyAdmin
from billing.admin.manual_postings import DecisionForm
from billing.models import ContractPrice
from billing.pricing.charge import ONE
from billing.pricing.components import COMPONENTS
from billing.pricing.margins import rate_text


@admin.register(ContractPrice)
class ContractPriceAdmin(ReadOnlyAdmin):
    """Contract prices: for whom, what, from when to when, why, who requested and confirmed them."""

    list_display = (
        "created_at",
        "customer",
        "covers",
        "terms",
        "effective_from",
        "ends_at",
        "phase",
        "reason",
    )
    list_filter = ("state", "has_own_rates", "effective_from")
    list_select_related = ("team", "product")
    search_fields = ("team__name", "team__slug", "product__sku", "reason")
    ordering = ("-created_at",)
    fields: ClassVar[Any] = (
        "customer",
        "covers",
        "terms",
        "rates_in_dollars",
        "effective_from",
        "ends_at",
        "phase",
        "reason",
        "requested_by",
        "created_at",
        "decided_by",
        "decided_at",
    )
    readonly_fields: ClassVar[Any] = fields
    actions_detail: Any = ("approve", "reject")

    @admin.display(description="Team", ordering="team__name")
    def customer(self, contract: ContractPrice) -> str:
        """Return a link to the customer's page in the console."""
        url = reverse("console:customer", args=[contract.team_id])
        return format_html('<a href="{}"><bdi>{}</bdi></a>', url, contract.team)

    @admin.display(description="For")
    def covers(self, contract: ContractPrice) -> str:
        """Return the product, or that it is for all models."""
        return contract.covers

    @admin.display(description="Price")
    def terms(self, contract: ContractPrice) -> str:
        """Return the factor as a percentage, or that there are own rates."""
        return contract.terms

    @admin.display(description="State")
    def phase(self, contract: ContractPrice) -> str:
        """Return the state in a word."""
        return contract.phase.capitalize()

    @admin.display(description="Own rates")
    def rates_in_dollars(self, contract: ContractPrice) -> str:
        """Return own rates in dollars, separated by semicolons."""
        if not contract.has_own_rates:
            return "none"
        rates = contract.rates
        texts = []
        for name, component in COMPONENTS.items():
            nanos = rates.of(name)
            if nanos:
                per = "each" if component.per == 1 else "per million"
                texts.append(f"{component.plural} ${rate_text(nanos * ONE)} {per}")
        return "; ".join(texts) or "free"

    def has_approve_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may confirm what others requested."""
        return request.user.has_perm("billing.approve_contractprice")

    @action(  # type: ignore[operator]  # unfold's annotations
        description="Confirm…", url_path="approve", permissions=["approve"]
    )
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the contract price and its effect, or confirm it."""
        form = forms.Form(request.POST if request.method == "POST" else None)
        return self._decide(request, object_id, form, "Confirm", contracts.approve)

    @action(  # type: ignore[operator]  # unfold's annotations
        description="Reject…", url_path="reject", permissions=["approve"]
    )
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form, or reject the contract price with the submitted reason."""
        form = DecisionForm(request.POST or None)

        def reject(contract: ContractPrice, user: User) -> ContractPrice:
            return contracts.reject(contract, user, form.cleaned_data["reason"])

        return self._decide(request, object_id, form, "Reject", reject)

    def _decide(
        self,
        request: HttpRequest,
        object_id: str,
        form: forms.Form,
        label: str,
        run: Callable[[ContractPrice, User], ContractPrice],
    ) -> HttpResponse:
        contract: ContractPrice = get_object_or_404(self.get_queryset(request), pk=object_id)
        if not may_act_on(request, contract.team):
            raise PermissionDenied
        back = reverse("admin:billing_contractprice_change", args=[contract.pk])
        if form.is_valid() and isinstance(request.user, User):
            try:
                run(contract, request.user)
            except contracts.ContractError as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, f"{label}ed." if label == "Confirm" else "Rejected.")
                return redirect(back)
        form.review = contracts.review_of(contract)  # type: ignore[attr-defined]  # for the template
        ends_at = contract.ends_at
        context = {
            **self.admin_site.each_context(request),
            "title": f"{label}: contract price",
            "opts": self.model._meta,
            "original": contract,
            "facts": [
                ("Team", str(contract.team)),
                ("For", contract.covers),
                ("Price", contract.terms),
                ("Own rates", self.rates_in_dollars(contract)),
                ("From", f"{contract.effective_from:%Y-%m-%d %H:%M} UTC"),
                ("Until", f"{ends_at:%Y-%m-%d %H:%M} UTC" if ends_at else "no end"),
                ("Reason", contract.reason),
                ("Requested by", str(contract.requested_by or "a deleted user")),
                ("State", contract.phase),
            ],
            "form": form,
            "action_label": label,
            "back_url": back,
        }
        return TemplateResponse(request, "admin/billing/action_form.html", context)
