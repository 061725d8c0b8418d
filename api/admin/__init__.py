"""Admin pages for the catalogue, prices, keys and the gateway's records. Each registers its own."""

from api.admin import catalogue, keys, prices, records

__all__ = ["catalogue", "keys", "prices", "records"]
