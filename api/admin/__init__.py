"""Admin pages for alerts, the catalogue, prices, keys, status and the gateway's records.

Each module registers its own.
"""

from api.admin import (
    alerts,
    catalogue,
    contracts,
    keys,
    prices,
    records,
    status,
    upstream_keys,
    upstreams,
    usage_sources,
)

__all__ = [
    "alerts",
    "catalogue",
    "contracts",
    "keys",
    "prices",
    "records",
    "status",
    "upstream_keys",
    "upstreams",
    "usage_sources",
]
