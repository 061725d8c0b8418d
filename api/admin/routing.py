"""Draining upstreams and routes in the admin, and the state of their circuit breakers."""

from datetime import UTC
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin

from api.models import Route, RouteEjection, Upstream
from billing.admin.fields import ReadOnlyAdmin


class DrainAdmin(ModelAdmin):
    """Rows that can be drained: they get no new calls from `drains_at` on."""

    actions = ("drain", "end_drain")

    @admin.action(description="Drain now", permissions=["change"])
    def drain(self, request: HttpRequest, rows: QuerySet[Any]) -> None:
        """Give the chosen rows no new calls from now on, unless they get none already."""
        now = timezone.now()
        waiting = rows.filter(Q(drains_at__isnull=True) | Q(drains_at__gt=now))
        self._set(request, waiting, now, "Drained.")

    @admin.action(description="End drain", permissions=["change"])
    def end_drain(self, request: HttpRequest, rows: QuerySet[Any]) -> None:
        """Give the chosen rows calls again, and cancel what was planned."""
        self._set(request, rows.filter(drains_at__isnull=False), None, "Drain ended.")

    def _set(self, request: HttpRequest, rows: QuerySet[Any], drains_at: Any, text: str) -> None:
        changed = list(rows)
        for row in changed:
            row.drains_at = drains_at
            row.save(update_fields=["drains_at"])
            self.log_change(request, row, text)
        messages.info(request, f"{text} Rows changed: {len(changed)}.")


def drain_state(row: Upstream | Route) -> str:
    """Return since or from when a row is drained, or an empty text."""
    if row.drains_at is None:
        return ""
    word = "Drained since" if row.drains_at <= timezone.now() else "Drains at"
    return f"{word} {row.drains_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def upstream_state(upstream: Any) -> str:
    """Return whether an upstream gets calls, of rows from `with_upstream_state`."""
    if not upstream.is_enabled:
        return "Disabled"
    if state := drain_state(upstream):
        return state
    if upstream.ejected_routes:
        return f"{upstream.ejected_routes} of {upstream.enabled_routes} routes ejected"
    return "In use"


def with_upstream_state(upstreams: QuerySet[Upstream]) -> QuerySet[Upstream]:
    """Return upstreams with what `upstream_state` reads."""
    used = Q(routes__is_enabled=True)
    lasting = used & Q(routes__ejections__isnull=False, routes__ejections__recovered_at=None)
    return upstreams.annotate(
        enabled_routes=Count("routes", filter=used, distinct=True),
        ejected_routes=Count("routes", filter=lasting, distinct=True),
    )


def route_state(route: Any) -> str:
    """Return whether a route gets calls, of rows from `with_route_state`."""
    if not (route.is_enabled and route.upstream.is_enabled):
        return "Disabled"
    if state := drain_state(route) or drain_state(route.upstream):
        return state
    for ejection in route.lasting_ejections:
        if ejection.retry_at > timezone.now():
            return f"Open until {ejection.retry_at.astimezone(UTC):%H:%M:%S} UTC"
        return "Half-open"
    return "In use"


def with_route_state(routes: QuerySet[Route]) -> QuerySet[Route]:
    """Return routes with what `route_state` reads."""
    lasting = RouteEjection.objects.filter(recovered_at=None)
    return routes.select_related("model", "upstream").prefetch_related(
        Prefetch("ejections", lasting, to_attr="lasting_ejections")
    )


@admin.register(RouteEjection)
class RouteEjectionAdmin(ReadOnlyAdmin):
    """Times in which routes were left alone because they failed."""

    list_display = ("route", "ejected_at", "retry_at", "recovered_at", "ejections", "reason")
    list_filter = (
        ("recovered_at", admin.EmptyFieldListFilter),
        "ejected_at",
        "route__upstream",
    )
    list_select_related = ("route__model", "route__upstream")
    search_fields = ("route__model__name", "route__upstream__name", "reason")
    ordering = ("-ejected_at",)
