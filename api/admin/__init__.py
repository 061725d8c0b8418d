"""Admin pages for the catalogue, keys and the gateway's records. Each registers its own."""

from api.admin import catalogue, keys, records

__all__ = ["catalogue", "keys", "records"]
