"""Rate limits of forms, and the page that says when to try again."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_ratelimit import ALL
from django_ratelimit.core import get_usage, is_ratelimited

_ALLAUTHS_LONGEST_SECONDS = 60  # all of its limits that end in a page are by the minute


def too_many(
    request: HttpRequest, wait_seconds: int = _ALLAUTHS_LONGEST_SECONDS, **_options: Any
) -> HttpResponse:
    """Return the page of 429 (config/urls.py gives it to allauth's limits too)."""
    context = {"wait_minutes": -(-wait_seconds // 60), "wait_hours": -(-wait_seconds // 3600)}
    answer = render(request, "429.html", context, status=429)
    answer["Retry-After"] = str(wait_seconds)
    return answer


def seconds_to_wait(
    request: HttpRequest, group: str, rate: str, key: str, *, is_any_method: bool = False
) -> int | None:
    """Count the request. Return how long to wait, or None where it is within the rate.

    Only a POST counts, unless `is_any_method`.
    """
    method = ALL if is_any_method else "POST"
    usage = get_usage(  # type: ignore[no-untyped-call]
        request, group=group, key=key, rate=rate, method=method, increment=True
    )
    if usage is None or not usage["should_limit"]:
        return None
    return max(1, int(usage["time_left"]))


def is_over_limit(request: HttpRequest, group: str, rate: str) -> bool:
    """Count a user's request in the group; return whether it exceeds the rate, such as `5/h`."""
    is_over = is_ratelimited(  # type: ignore[no-untyped-call]
        request, group=group, key="user", rate=rate, increment=True
    )
    return bool(is_over)
