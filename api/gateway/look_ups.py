"""Look-ups in the database for requests that call no model, such as a key's usage.

They read with Django's ORM in threads of their own, beside the event loop and its connections: few
at a time, each with a time limit, so that they never delay a request that calls a model.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog
from django.db import Error, connection, transaction

from api import errors
from api.gateway.admission import identify
from api.gateway.http import ApiRequest
from api.gateway.process import Gateway
from billing.ledger.gate import AdmissionResult

log = structlog.get_logger(__name__)

THREADS = 2
# Of all teams, and of one: running and waiting.
MOST_LOOK_UPS = 64
MOST_OF_A_TEAM = 8
STATEMENT_SECONDS = 5

Result = TypeVar("Result")

_threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="look-ups")
_under_way: Counter[int] = Counter()


async def known_key(gateway: Gateway, request: ApiRequest) -> AdmissionResult:
    """Return whose key the request has. Raise an error of `api.errors`."""
    admission = await identify(gateway, request, request.key_digests())
    if admission is None:
        raise errors.ServiceUnavailableError()
    return admission


async def look_up(team_id: int, read: Callable[[], Result]) -> Result:
    """Return what `read` finds for a team.

    Raise RateLimitError if too many look-ups wait, and ServiceUnavailableError if the database is
    unavailable or takes longer than `STATEMENT_SECONDS`.
    """
    if _under_way[team_id] >= MOST_OF_A_TEAM or _under_way.total() >= MOST_LOOK_UPS:
        raise errors.RateLimitError(retry_after_seconds=1)
    _under_way[team_id] += 1
    work = asyncio.get_running_loop().run_in_executor(_threads, _read, read)
    work.add_done_callback(lambda _: _end(team_id))
    try:
        return await asyncio.shield(work)
    except Error as error:
        log.warning("look_up_failed", team_id=team_id, error=str(error))
        raise errors.ServiceUnavailableError() from None


def _end(team_id: int) -> None:
    _under_way[team_id] -= 1
    if not _under_way[team_id]:
        del _under_way[team_id]


def _read(read: Callable[[], Result]) -> Result:
    """Run `read` on this thread's connection, which is given back afterwards."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_SECONDS}s'")
            return read()
    finally:
        connection.close()
