"""Admin pages for the catalogue, API keys and the gateway's records. Each module registers its own."""

from api.admin import catalogue, keys, records

__all__ = ["catalogue", "keys", "records"]
