"""The API's tables: the catalogue that staff edit, jobs that outlive a request, health counts."""

from api.models.catalogue import (
    Model,
    ModelAlias,
    Route,
    RouteCost,
    Service,
    Upstream,
    validate_base_url,
)
from api.models.health import ModelHealth, ModelHealthHour
from api.models.jobs import ChatJob, VideoJob
from api.models.token_ratios import TokenRatio

__all__ = [
    "ChatJob",
    "Model",
    "ModelAlias",
    "ModelHealth",
    "ModelHealthHour",
    "Route",
    "RouteCost",
    "Service",
    "TokenRatio",
    "Upstream",
    "VideoJob",
    "validate_base_url",
]
