"""Draining upstreams and routes in the admin, and the state of their circuit breakers."""

from datetime import UTC
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin

from api.models import Route, RouteEjection, Upstream, UpstreamKey
from billing.admin.fields import ReadOnlyAdmin


class DrainAdmin(ModelAdmin):
    """Rows that can be drained: they get no new calls from `drains_at` on."""

    actions: Any = ("drain", "end_drain")

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


def drain_state(row: Upstream | UpstreamKey | Route) -> str:
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


def key_state(key: Any) -> str:
    """Return whether a key is used, of rows from `with_key_state`."""
    if not (key.is_enabled and key.upstream.is_enabled):
        return "Disabled"
    if not key.has_secret:
        return "No key stored"
    if state := drain_state(key) or drain_state(key.upstream):
        return state
    if key.ejected_routes:
        return f"{key.ejected_routes} of {key.enabled_routes} routes ejected"
    return "In use"


def with_key_state(keys: QuerySet[UpstreamKey]) -> QuerySet[UpstreamKey]:
    """Return keys with what `key_state` reads."""
    lasting = Q(ejections__isnull=False, ejections__recovered_at=None)
    return keys.select_related("upstream").annotate(
        enabled_routes=Count(
            "upstream__routes", filter=Q(upstream__routes__is_enabled=True), distinct=True
        ),
        ejected_routes=Count("ejections__route", filter=lasting, distinct=True),
    )


def route_state(route: Any) -> str:
    """Return whether a route gets calls, of rows from `with_route_state`."""
    if not (route.is_enabled and route.upstream.is_enabled):
        return "Disabled"
    if state := drain_state(route) or drain_state(route.upstream):
        return state
    ejections = route.lasting_ejections
    keys = sum(key.is_enabled and key.has_secret for key in route.upstream.keys.all())
    if keys > 1 and ejections:
        return f"Ejected for {len(ejections)} of {keys} keys"
    for ejection in ejections:
        if ejection.retry_at > timezone.now():
            return f"Open until {ejection.retry_at.astimezone(UTC):%H:%M:%S} UTC"
        return "Half-open"
    return "In use"


def with_route_state(routes: QuerySet[Route]) -> QuerySet[Route]:
    """Return routes with what `route_state` reads."""
    usable = Q(key=None) | Q(key__is_enabled=True)
    lasting = RouteEjection.objects.filter(usable, recovered_at=None)
    return routes.select_related("model", "upstream").prefetch_related(
        "upstream__keys", Prefetch("ejections", lasting, to_attr="lasting_ejections")
    )


@admin.register(RouteEjection)
class RouteEjectionAdmin(ReadOnlyAdmin):
    """Times in which routes were left alone because they failed."""

    list_display = ("route", "key", "ejected_at", "retry_at", "recovered_at", "ejections", "reason")
    list_filter = (
        ("recovered_at", admin.EmptyFieldListFilter),
        "ejected_at",
        "route__upstream",
    )
    list_select_related = ("route__model", "route__upstream", "key__upstream")
    search_fields = ("route__model__name", "route__upstream__name", "reason")
    ordering = ("-ejected_at",)
