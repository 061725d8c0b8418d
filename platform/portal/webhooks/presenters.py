"""Endpoints and deliveries in words."""

import json
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from accounts.models import WebhookDelivery, WebhookEndpoint
from api.webhooks.delivery import body_of
from portal.ui.paging import Pager
from portal.webhooks.queries import DeliveryPage

_STATES: dict[str, tuple[str, Any]] = {
    WebhookDelivery.State.WAITING: ("accent", _("Waiting")),
    WebhookDelivery.State.DELIVERED: ("good", _("Delivered")),
    WebhookDelivery.State.FAILED: ("bad", _("Failed")),
    WebhookDelivery.State.CANCELED: ("", _("Canceled")),
}
_PROBLEMS: dict[str, Any] = {
    WebhookDelivery.Problem.ADDRESS: _("The URL leads to no public address"),
    WebhookDelivery.Problem.UNREACHABLE: _("No connection"),
    WebhookDelivery.Problem.TLS: _("Invalid TLS certificate"),
    WebhookDelivery.Problem.TIMEOUT: _("No answer in time"),
    WebhookDelivery.Problem.SECRET: _("The signing secret can’t be read: rotate it"),
}
_DISABLED: dict[str, Any] = {
    WebhookEndpoint.DisabledReason.MEMBER: _("Disabled by a member."),
    WebhookEndpoint.DisabledReason.FAILING: _("Disabled: all deliveries failed for days."),
    WebhookEndpoint.DisabledReason.GONE: _("Disabled: it answered 410 Gone."),
}


@dataclass(frozen=True)
class EndpointPresenter:
    """An endpoint as its pages show it."""

    endpoint: WebhookEndpoint

    @property
    def state(self) -> tuple[str, Any]:
        """The badge's style and text."""
        if not self.endpoint.is_enabled:
            return ("", _("Disabled"))
        return ("warn", _("Failing")) if self.endpoint.failing_since else ("good", _("Enabled"))

    @property
    def why_disabled(self) -> Any:
        """The reason for which it gets no events."""
        return _DISABLED.get(self.endpoint.disabled_reason, "")


@dataclass(frozen=True)
class DeliveryPresenter:
    """A delivery as its pages show it."""

    delivery: WebhookDelivery

    @property
    def state(self) -> tuple[str, Any]:
        """The badge's style and text."""
        if self.delivery.state == WebhookDelivery.State.WAITING and self.has_failed:
            return ("warn", _("Retrying"))
        return _STATES[self.delivery.state]

    @property
    def has_failed(self) -> bool:
        """Whether the last attempt whose outcome is known failed."""
        status = self.delivery.status
        return bool(self.delivery.problem or (status and not 200 <= status < 300))

    @property
    def result(self) -> Any:
        """The last attempt's HTTP status, or why there is none."""
        return self.delivery.status or _PROBLEMS.get(self.delivery.problem, "")

    @property
    def is_waiting(self) -> bool:
        """Whether there will be another attempt."""
        return self.delivery.state == WebhookDelivery.State.WAITING

    @property
    def may_replay(self) -> bool:
        """Whether it can be replayed now."""
        return not self.is_waiting and self.delivery.endpoint.is_enabled

    @property
    def body(self) -> str:
        """The request's body, indented."""
        payload = json.loads(body_of(self.delivery.event))
        return json.dumps(payload, indent=2, ensure_ascii=False)


def deliveries_context(page: DeliveryPage) -> dict[str, object]:
    """Return the context of a page of deliveries."""
    return {
        "deliveries": [DeliveryPresenter(each) for each in page.deliveries],
        "page": Pager(
            newer_url=f"?after={page.newer}" if page.newer else "",
            older_url=f"?before={page.older}" if page.older else "",
        ),
    }
