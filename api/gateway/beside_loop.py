"""Work on large bodies, in one thread beside the event loop, so that other requests go on.

There is only one: several would just compete with the event loop for the interpreter's lock, and
each body that is being decoded costs memory.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

# Up to this size, work in place delays other requests less than a thread would.
LARGE_BYTES = 256 * 1024

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-bodies")


async def run_beside(
    size_bytes: int,
    work: Callable[Arguments, Result],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result:
    """Return the result of work on a body of this size; raise what it raises."""
    if size_bytes <= LARGE_BYTES:
        return work(*args, **kwargs)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_executor, partial(work, *args, **kwargs))
