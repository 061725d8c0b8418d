"""What the gateway and the jobs keep, in the admin: shown, never changed."""

from django.contrib import admin

from api.models import (
    ChatJob,
    IdempotentRequest,
    KeyAddress,
    KeyGuard,
    KeyIncident,
    KeyNetwork,
    ModelFigures,
    ModelHealth,
    ModelHealthHour,
    TokenRatio,
    VideoJob,
)
from billing.admin.fields import ReadOnlyAdmin, dollars


@admin.register(TokenRatio)
class TokenRatioAdmin(ReadOnlyAdmin):
    """What models' upstreams counted of prompts, against our estimates."""

    list_display = ("model", "estimated_tokens", "reported_tokens", "updated_at")
    list_filter = ("updated_at",)
    search_fields = ("=model",)
    ordering = ("model",)


@admin.register(ModelHealth)
class ModelHealthAdmin(ReadOnlyAdmin):
    """Successes and failures of models by minute."""

    list_display = ("minute", "model", "succeeded", "failed")
    list_filter = ("minute",)
    search_fields = ("=model",)
    ordering = ("-minute",)


@admin.register(ModelHealthHour)
class ModelHealthHourAdmin(ReadOnlyAdmin):
    """Successes and failures of models by hour, as on the status page."""

    list_display = ("hour", "model", "succeeded", "failed")
    list_filter = ("hour",)
    search_fields = ("=model",)
    ordering = ("-hour",)


@admin.register(KeyAddress)
class KeyAddressAdmin(ReadOnlyAdmin):
    """Where each key was last used from."""

    list_display = ("key", "address", "seen_at")
    list_filter = ("seen_at",)
    list_select_related = ("key",)
    search_fields = ("=address", "key__name", "=key__last_four")
    ordering = ("-seen_at",)


@admin.register(KeyGuard)
class KeyGuardAdmin(ReadOnlyAdmin):
    """What is done about unusual use of each key."""

    list_display = ("key", "on_spike", "on_new_network")
    list_filter = ("on_spike", "on_new_network")
    list_select_related = ("key",)
    search_fields = ("key__name", "=key__last_four")
    ordering = ("-key",)


@admin.register(KeyIncident)
class KeyIncidentAdmin(ReadOnlyAdmin):
    """Unusual use of keys, of which their teams were told."""

    list_display = (
        *("created_at", "key", "kind", "is_frozen", dollars("spent_nanos")),
        *(dollars("usual_nanos"), "network"),
    )
    list_filter = ("kind", "is_frozen", "created_at")
    list_select_related = ("key",)
    search_fields = ("key__name", "=key__last_four", "key__team__slug")
    ordering = ("-created_at",)


@admin.register(KeyNetwork)
class KeyNetworkAdmin(ReadOnlyAdmin):
    """The networks that each key is used from."""

    list_display = ("key", "network", "first_seen_at", "last_seen_at")
    list_filter = ("last_seen_at",)
    list_select_related = ("key",)
    search_fields = ("=network", "key__name", "=key__last_four")
    ordering = ("-last_seen_at",)


@admin.register(ModelFigures)
class ModelFiguresAdmin(ReadOnlyAdmin):
    """What models' pages show: the last 30 days of the whole service."""

    list_display = ("model", "teams", "succeeded", "failed", "is_public", "updated_at")
    list_filter = ("updated_at",)
    search_fields = ("=model",)
    ordering = ("model",)

    @admin.display(boolean=True, description="Shown to customers")
    def is_public(self, figures: ModelFigures) -> bool:
        """Return whether there are enough requests and teams to show them."""
        return figures.is_public


@admin.register(VideoJob)
class VideoJobAdmin(ReadOnlyAdmin):
    """Video jobs and their state. The videos are not shown."""

    list_display = (
        "public_id",
        "team",
        "model",
        "upstream",
        "state",
        dollars("cost_nanos"),
        "created_at",
        "ended_at",
        "error",
    )
    list_filter = ("state", "model", "upstream", "created_at")
    list_select_related = ("team", "upstream")
    search_fields = ("=id", "=upstream_job_id", "team__slug")
    exclude = ("url",)


@admin.register(ChatJob)
class ChatJobAdmin(ReadOnlyAdmin):
    """Chats to be answered later, and their state. What is said in them is not shown."""

    list_display = (
        "public_id",
        "team",
        "model",
        "state",
        dollars("held_nanos"),
        "runs",
        "created_at",
        "ended_at",
        "error",
    )
    list_filter = ("state", "model", "created_at")
    list_select_related = ("team",)
    search_fields = ("=id", "team__slug")
    exclude = ("body", "answer")


@admin.register(IdempotentRequest)
class IdempotentRequestAdmin(ReadOnlyAdmin):
    """Requests with an Idempotency-Key. Their answers are encrypted, and not shown."""

    list_display = (
        "request_id",
        "key",
        "endpoint",
        "state",
        "created_at",
        "ended_at",
        "expires_at",
    )
    list_filter = ("state", "endpoint", "created_at")
    list_select_related = ("key",)
    search_fields = ("=request_id", "key__name", "=key__last_four")
    ordering = ("-created_at",)
    exclude = ("answer",)
