"""Admin pages for maintenance mode and for the events on the status page."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline
from unfold.widgets import UnfoldAdminTextInputWidget

from api.models import MaintenanceMode, Model, StatusEvent, StatusSubscriber, StatusUpdate
from billing.admin.fields import ReadOnlyAdmin


@admin.register(MaintenanceMode)
class MaintenanceModeAdmin(ModelAdmin):
    """The switch that closes pages and API. Its row always exists."""

    list_display = ("__str__", "text", "ends_at")
    list_filter = ("is_on",)
    search_fields = ("text",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Forbid a second row."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Forbid deletion."""
        return False


class StatusEventForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """The form of an event. Its models are those of the catalogue."""

    class Meta:
        model = StatusEvent
        fields = (
            *("kind", "title", "impact", "model_names", "starts_at", "ends_at"),
            "is_published",
        )
        widgets = {"model_names": UnfoldAdminTextInputWidget}

    def clean_model_names(self) -> list[str]:
        """Return the names. Raise ValidationError for a model that doesn't exist."""
        names: list[str] = self.cleaned_data["model_names"]
        known = set(Model.objects.filter(name__in=names).values_list("name", flat=True))
        if unknown := [name for name in names if name not in known]:
            raise forms.ValidationError(f"Unknown models: {', '.join(unknown)}.")
        return names


class UpdatesOfEvent(TabularInline):
    """The updates of an event, newest first."""

    model = StatusUpdate
    extra = 1
    fields = ("created_at", "text")


@admin.register(StatusEvent)
class StatusEventAdmin(ModelAdmin):
    """Incidents, maintenance windows and announcements."""

    form = StatusEventForm
    list_display = ("title", "kind", "impact", "starts_at", "ends_at", "is_published")
    list_filter = ("kind", "is_published", ("ends_at", admin.EmptyFieldListFilter), "starts_at")
    search_fields = ("title", "updates__text")
    ordering = ("-starts_at",)
    inlines = (UpdatesOfEvent,)
    actions = ("end_now",)

    @admin.action(description="End now", permissions=["change"])
    def end_now(self, request: HttpRequest, events: QuerySet[StatusEvent]) -> None:
        """End those of the events that are current."""
        now = timezone.now()
        for event in events:
            if event.is_current(now):
                event.ends_at = now
                event.save(update_fields=["ends_at"])
                self.log_change(request, event, "Ended.")


@admin.register(StatusUpdate)
class StatusUpdateAdmin(ModelAdmin):
    """Updates to all events, and when they were sent to subscribers."""

    list_display = ("event", "text", "created_at", "notified_at")
    list_filter = ("created_at", "event__kind")
    list_select_related = ("event",)
    search_fields = ("event__title", "text")
    readonly_fields = ("notified_at",)
    autocomplete_fields = ("event",)


@admin.register(StatusSubscriber)
class StatusSubscriberAdmin(ReadOnlyAdmin):
    """Addresses that get the updates: they subscribe and unsubscribe themselves."""

    list_display = ("email", "created_at")
    list_filter = ("created_at",)
    search_fields = ("email",)
