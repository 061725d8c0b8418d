"""What continues after a client has disconnected, and what it costs.

An answer is read to its end if the upstream bills all of it anyway, so that the charge is what was
billed. It is also read if the key has cancelled often: otherwise cancelling, with its estimated
charge, could pay off. A request that a job takes over is never ended by its client.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from api import errors
from api.dialects.base import DialectError, StreamReader
from api.gateway.deadlines import Deadlines
from api.gateway.process import Gateway
from api.gateway.settlement import AdmittedRequest
from api.gateway.upstream import UpstreamResponse
from api.gateway.upstream_errors import AttemptError, ShuttingDownError

Result = TypeVar("Result")


async def hand_over(
    gateway: Gateway,
    admitted: AdmittedRequest,
    work: Coroutine[Any, Any, errors.ApiError | None],
) -> None:
    """Run `work`, which gives the hold to a job or releases it, even if the client disconnects.

    Raise the error that it returns. The hold is released if the process stops before it begins.
    """
    task = gateway.run_in_background(work)
    task.add_done_callback(partial(_release_if_dropped, admitted))
    error = await asyncio.shield(task)
    if error is not None:
        raise error


def _release_if_dropped(
    admitted: AdmittedRequest, task: "asyncio.Task[errors.ApiError | None]"
) -> None:
    if task.cancelled():
        admitted.fail(AttemptError("shutdown"), ShuttingDownError.status)


async def run_detachably(
    gateway: Gateway,
    admitted: AdmittedRequest,
    deadlines: Deadlines,
    work: Coroutine[Any, Any, Result],
    finish: Callable[[Result], Awaitable[None]],
) -> Result:
    """Return the result of `work`, which goes on in the background if the client disconnects.

    In that case `finish` settles the request with the result. If a deadline ends the wait, `work`
    is cancelled as well.
    """
    task = gateway.run_in_background(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if deadlines.is_quiet:
            admitted.detach()
            gateway.run_in_background(_finish(gateway, admitted, task, finish))
        else:
            task.cancel()
            await asyncio.wait([task])
        raise


async def _finish(
    gateway: Gateway,
    admitted: AdmittedRequest,
    task: "asyncio.Task[Result]",
    finish: Callable[[Result], Awaitable[None]],
) -> None:
    """Wait for the answer, within bounds, and settle the request whatever comes."""
    try:
        async with asyncio.timeout(gateway.limits.drain_seconds):
            await finish(await task)
    except (AttemptError, DialectError):
        admitted.settle_unbilled()
    except TimeoutError:
        pass
    finally:
        admitted.settle_abandoned(None)


async def drain(
    gateway: Gateway, admitted: AdmittedRequest, response: UpstreamResponse, reader: StreamReader
) -> None:
    """Read an abandoned stream to its usage, within bounds, and settle the request.

    The usage that the upstream bills is charged; without one, an estimate of all that came. One
    whose hold grows is read as far as its hold pays.
    """
    limits = gateway.limits
    paid_bytes = math.inf if admitted.hold is None else admitted.hold.paid_bytes
    left = limits.drain_bytes
    admitted.reader = reader
    try:
        with suppress(AttemptError, DialectError, TimeoutError):
            async with asyncio.timeout(limits.drain_seconds):
                async for data in response.chunks():
                    reader.feed(data)
                    left -= len(data)
                    if reader.is_done or reader.error is not None or left < 0:
                        break
                    if reader.text_bytes > paid_bytes:
                        break
                reader.finish()
    finally:
        admitted.finish_reason = reader.finish_reason
        is_whole = reader.error is None and bool(reader.is_done or reader.finish_reason)
        admitted.settle_abandoned(reader.meter(admitted.quote) if is_whole else None)
        await response.close()
