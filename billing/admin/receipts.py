"""Admin pages for signing keys and day roots, both read-only."""

from django.contrib import admin

from billing.admin.fields import ReadOnlyAdmin
from billing.models import DayRoot, SigningKey


@admin.register(SigningKey)
class SigningKeyAdmin(ReadOnlyAdmin):
    """The public halves of the keys that sign receipts; `rotate_signing_key` makes the next."""

    list_display = ("id", "created_at", "signs_from", "withdrawn_at")
    list_filter = ("created_at",)
    search_fields = ("=id",)
    exclude = ("encrypted_private_key",)
    ordering = ("-created_at",)


@admin.register(DayRoot)
class DayRootAdmin(ReadOnlyAdmin):
    """Merkle roots of teams' transfers."""

    list_display = ("day", "account", "first_sequence", "last_sequence", "created_at")
    list_filter = ("day",)
    list_select_related = ("account__team",)
    search_fields = ("account__team__slug", "account__team__name")
    exclude = ("chunk_hashes",)
    ordering = ("-day", "-id")
