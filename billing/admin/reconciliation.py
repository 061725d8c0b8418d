"""Admin pages for upstreams' statements, all read-only: the console's pages work on them."""

from typing import Any, ClassVar

from django.contrib import admin

from billing.admin.fields import ReadOnlyAdmin, dollars
from billing.models import StatementChunk, StatementLine, UpstreamStatement, UsageCorrection


@admin.register(UpstreamStatement)
class UpstreamStatementAdmin(ReadOnlyAdmin):
    """Upstreams' usage exports that staff imported."""

    list_display = (
        "created_at",
        "upstream",
        "file_name",
        "state",
        "lines_read",
        "since",
        "until",
        "uploaded_by",
        "confirmed_by",
    )
    list_filter = ("state", "created_at")
    list_select_related = ("uploaded_by", "confirmed_by")
    search_fields = ("=id", "upstream", "file_name", "=digest")
    ordering = ("-created_at",)


@admin.register(StatementChunk)
class StatementChunkAdmin(ReadOnlyAdmin):
    """Parts of uploaded files that wait for the worker."""

    list_display = ("id", "statement", "number")
    list_filter = ("statement__state",)
    list_select_related = ("statement",)
    search_fields = ("=statement__id",)
    exclude = ("data",)


@admin.register(StatementLine)
class StatementLineAdmin(ReadOnlyAdmin):
    """Requests as exports have them, beside our records."""

    list_display = (
        "upstream_request_id",
        "at",
        "upstream",
        "model",
        "state",
        dollars("cost_nanos"),
        dollars("our_cost_nanos"),
        "correction",
    )
    list_filter = ("state", "correction")
    search_fields = ("=statement__id",)
    ordering: ClassVar[Any] = ("-id",)


@admin.register(UsageCorrection)
class UsageCorrectionAdmin(ReadOnlyAdmin):
    """Charges of estimated usage that were corrected, and by which line of which statement."""

    list_display = (
        "created_at",
        "request_id",
        "account",
        dollars("charged_nanos"),
        dollars("corrected_nanos"),
        "statement",
        "line_number",
        "confirmed_by",
    )
    list_filter = ("created_at",)
    list_select_related = ("account__team", "statement", "confirmed_by")
    search_fields = ("=request_id", "=statement__id", "account__team__name")
    ordering = ("-created_at",)
