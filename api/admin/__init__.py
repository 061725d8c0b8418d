"""Admin pages for alerts, the catalogue, keys and the gateway's records. Each registers its own."""

from api.admin import alerts, catalogue, keys, records, status

__all__ = ["alerts", "catalogue", "keys", "records", "status"]
