"""Entries of routes for tests that call nobody."""

from typing import Any

from api.catalogue.snapshot import RouteEntry, UpstreamEntry


def new_route(route_id: int, **fields: Any) -> RouteEntry:
    """Return a route at an upstream of its own."""
    upstream = UpstreamEntry(
        id=route_id,
        name=f"upstream-{route_id}",
        base_url="http://127.0.0.1:1/v1",
        api_key_env="",
        max_concurrency=100,
        connect_timeout_seconds=1.0,
        first_token_timeout_seconds=5.0,
        idle_timeout_seconds=5.0,
        total_timeout_seconds=10.0,
        drains_on_disconnect=False,
    )
    return RouteEntry(
        **{
            "id": route_id,
            "upstream": upstream,
            "upstream_model": "upstream-model",
            "priority": 0,
            "weight": 1,
            "reasoning_dialect": "reasoning_content",
            **fields,
        }
    )
