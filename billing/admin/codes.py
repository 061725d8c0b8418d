"""Staff's pages for credit that nobody pays for at Checkout: codes, referrals, auto top-up."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import TabularInline

from billing.admin.fields import MoneyAdmin, ReadOnlyAdmin, dollars, dollars_of_cents
from billing.models import AutoTopUp, CodeRedemption, CreditCode, Referral, ReferralLink
from billing.payments.codes import normalised


class CodeForm(forms.ModelForm):  # type: ignore[type-arg]  # the stubs alone know of generics
    """A code, which is stored as customers' typing is compared with it."""

    class Meta:
        model = CreditCode
        fields = (
            *("code", "amount_nanos", "redemptions_limit", "expires_at"),
            *("credit_days", "is_active", "note"),
        )

    def clean_code(self) -> str:
        """Returns the code without spaces, in capitals."""
        code = normalised(self.cleaned_data["code"])
        if not (code.isascii() and code.isprintable()):
            raise forms.ValidationError("Use letters without accents, digits and signs.")
        return code

    def clean_redemptions_limit(self) -> int:
        """Returns the limit. Raises ValidationError for one that is passed already."""
        limit: int = self.cleaned_data["redemptions_limit"]
        if limit < self.instance.redemptions:
            raise forms.ValidationError(f"It was redeemed {self.instance.redemptions} times.")
        return limit

    def clean_amount_nanos(self) -> int:
        """Returns the amount. Raises ValidationError for nothing."""
        amount_nanos: int = self.cleaned_data["amount_nanos"]
        if not amount_nanos:
            raise forms.ValidationError("Give an amount.")
        return amount_nanos


class RedemptionsOfCode(TabularInline):
    """Who redeemed a code."""

    model = CodeRedemption
    extra = 0
    fields = readonly_fields = ("team", "user", "created_at")
    ordering = ("-created_at",)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Leaves redeeming to customers."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Answers no."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Answers no."""
        return False

    def get_queryset(self, request: HttpRequest) -> "QuerySet[CodeRedemption]":
        """Returns the redemptions, with whom they are of."""
        return super().get_queryset(request).select_related("team", "user")


@admin.register(CreditCode)
class CreditCodeAdmin(MoneyAdmin):
    """Promotional codes. One that was redeemed keeps its name and its amount."""

    form = CodeForm
    list_display = (
        "code",
        dollars("amount_nanos"),
        "redemptions",
        "redemptions_limit",
        "expires_at",
        "credit_days",
        "is_active",
        "note",
    )
    list_filter = ("is_active", "created_at")
    search_fields = ("code", "note")
    ordering = ("-created_at",)
    readonly_fields = ("redemptions", "created_at")
    inlines = (RedemptionsOfCode,)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Returns the fields that are only shown."""
        shown = tuple(super().get_readonly_fields(request, obj))
        return (*shown, "code", "amount_nanos") if obj is not None and obj.redemptions else shown

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Keeps what was redeemed: clear *is active* instead."""
        return (obj is None or not obj.redemptions) and super().has_delete_permission(request, obj)


@admin.register(CodeRedemption)
class CodeRedemptionAdmin(ReadOnlyAdmin):
    """Who redeemed which code."""

    list_display = ("created_at", "code", "team", "user")
    list_filter = ("created_at",)
    list_select_related = ("code", "team", "user")
    search_fields = ("=code__code", "team__name", "team__slug", "user__email")
    ordering = ("-created_at",)


@admin.register(ReferralLink)
class ReferralLinkAdmin(ReadOnlyAdmin):
    """The links by which teams bring others."""

    list_display = ("code", "team")
    list_filter = ("team__is_personal",)
    list_select_related = ("team",)
    search_fields = ("=code", "team__name", "team__slug")


@admin.register(Referral)
class ReferralAdmin(ReadOnlyAdmin):
    """Which team brought which, and whether both have had their credit for it."""

    list_display = ("created_at", "team", "referrer", "rewarded_at")
    list_filter = (("rewarded_at", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("team", "referrer")
    search_fields = ("team__name", "team__slug", "referrer__name", "referrer__slug")
    ordering = ("-created_at",)


@admin.register(AutoTopUp)
class AutoTopUpAdmin(ReadOnlyAdmin):
    """Which teams buy credits by themselves, and what is in the way."""

    list_display = (
        "team",
        "is_enabled",
        dollars("threshold_nanos"),
        dollars_of_cents("amount_cents"),
        dollars_of_cents("monthly_limit_cents", "A month, $"),
        "problem",
        "problem_at",
        "failures",
        "next_attempt_at",
    )
    list_filter = ("is_enabled", "problem", "problem_at")
    list_select_related = ("team",)
    search_fields = ("team__name", "team__slug")
