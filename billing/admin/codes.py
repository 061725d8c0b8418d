"""Admin pages for promotional codes, referrals and auto top-up."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import TabularInline

from accounts.staff_rules import ReadOnly
from billing.admin.fields import MoneyAdmin, ReadOnlyAdmin, dollars, dollars_of_cents
from billing.models import AutoTopUp, CodeRedemption, CreditCode, Referral, ReferralLink
from billing.payments.promotions import normalise_code


class CodeForm(forms.ModelForm):  # type: ignore[type-arg]  # the stubs alone know of generics
    """The form of a code, which normalises it as customers' input is."""

    class Meta:
        model = CreditCode
        fields = (
            *("code", "amount_nanos", "redemptions_limit", "expires_at"),
            *("credit_days", "is_active", "note"),
        )

    def clean_code(self) -> str:
        """Return the normalised code. Raise ValidationError for unprintable characters."""
        code = normalise_code(self.cleaned_data["code"])
        if not (code.isascii() and code.isprintable()):
            raise forms.ValidationError("Use unaccented letters, digits and punctuation.")
        return code

    def clean_redemptions_limit(self) -> int:
        """Return the limit. Raise ValidationError if it is below the redemptions so far."""
        limit: int = self.cleaned_data["redemptions_limit"]
        if limit < self.instance.redemptions:
            raise forms.ValidationError(
                f"The code has already been redeemed ({self.instance.redemptions} times)."
            )
        return limit

    def clean_amount_nanos(self) -> int:
        """Return the amount. Raise ValidationError for zero."""
        amount_nanos: int = self.cleaned_data["amount_nanos"]
        if not amount_nanos:
            raise forms.ValidationError("Enter an amount.")
        return amount_nanos


class RedemptionInline(ReadOnly, TabularInline):  # type: ignore[misc]  # unfold's annotations
    """The redemptions of a code."""

    model = CodeRedemption
    extra = 0
    fields = readonly_fields = ("team", "user", "created_at")
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> "QuerySet[CodeRedemption]":
        """Return the redemptions with their teams and users."""
        return super().get_queryset(request).select_related("team", "user")


@admin.register(CreditCode)
class CreditCodeAdmin(MoneyAdmin):
    """Promotional codes. Once redeemed, a code and its amount can't be changed."""

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
    inlines = (RedemptionInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Return the read-only fields."""
        fields = tuple(super().get_readonly_fields(request, obj))
        return (*fields, "code", "amount_nanos") if obj is not None and obj.redemptions else fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False for a redeemed code: clear *is active* instead."""
        return (obj is None or not obj.redemptions) and super().has_delete_permission(request, obj)


@admin.register(CodeRedemption)
class CodeRedemptionAdmin(ReadOnlyAdmin):
    """Redemptions of codes."""

    list_display = ("created_at", "code", "team", "user")
    list_filter = ("created_at",)
    list_select_related = ("code", "team", "user")
    search_fields = ("=code__code", "team__name", "team__slug", "user__email")
    ordering = ("-created_at",)


@admin.register(ReferralLink)
class ReferralLinkAdmin(ReadOnlyAdmin):
    """Teams' referral links."""

    list_display = ("code", "team")
    list_filter = ("team__is_personal",)
    list_select_related = ("team",)
    search_fields = ("=code", "team__name", "team__slug")


@admin.register(Referral)
class ReferralAdmin(ReadOnlyAdmin):
    """Referrals, and when both teams were credited."""

    list_display = ("created_at", "team", "referrer", "rewarded_at")
    list_filter = (("rewarded_at", admin.EmptyFieldListFilter), "created_at")
    list_select_related = ("team", "referrer")
    search_fields = ("team__name", "team__slug", "referrer__name", "referrer__slug")
    ordering = ("-created_at",)


@admin.register(AutoTopUp)
class AutoTopUpAdmin(ReadOnlyAdmin):
    """Teams' auto top-up settings, and the problem of the last attempt."""

    list_display = (
        "team",
        "is_enabled",
        dollars("threshold_nanos"),
        dollars_of_cents("amount_cents"),
        dollars_of_cents("monthly_limit_cents", "Monthly limit, $"),
        "problem",
        "problem_at",
        "failures",
        "next_attempt_at",
    )
    list_filter = ("is_enabled", "problem", "problem_at")
    list_select_related = ("team",)
    search_fields = ("team__name", "team__slug")
