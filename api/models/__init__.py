"""The API's tables: the catalogue that staff edit, jobs that outlive a request, health, alerts."""

from api.models.alerts import AlertDelivery, AlertTarget
from api.models.catalogue import (
    Model,
    ModelAlias,
    Route,
    RouteCost,
    Service,
    Upstream,
    validate_base_url,
)
from api.models.health import ModelFigures, ModelHealth, ModelHealthHour, RouteEjection
from api.models.idempotency import IdempotentRequest
from api.models.jobs import ChatJob, VideoJob
from api.models.key_addresses import KeyAddress
from api.models.key_guards import KeyGuard, KeyIncident, KeyNetwork
from api.models.status import MaintenanceMode, StatusEvent, StatusSubscriber, StatusUpdate
from api.models.token_ratios import TokenRatio
from api.models.upstream_keys import UpstreamKey
from api.models.usage_sources import ReportedUsage, UsageSource

__all__ = [
    "AlertDelivery",
    "AlertTarget",
    "ChatJob",
    "IdempotentRequest",
    "KeyAddress",
    "KeyGuard",
    "KeyIncident",
    "KeyNetwork",
    "MaintenanceMode",
    "Model",
    "ModelAlias",
    "ModelFigures",
    "ModelHealth",
    "ModelHealthHour",
    "ReportedUsage",
    "Route",
    "RouteCost",
    "RouteEjection",
    "Service",
    "StatusEvent",
    "StatusSubscriber",
    "StatusUpdate",
    "TokenRatio",
    "Upstream",
    "UpstreamKey",
    "UsageSource",
    "VideoJob",
    "validate_base_url",
]
