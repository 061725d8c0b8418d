"""Request ids: UUIDv7 as 32 hexadecimal digits, so that they sort by time in every index."""

import time
from random import getrandbits

_LOW_62_BITS = (1 << 62) - 1


def new_request_id() -> str:
    """Returns a new UUIDv7 (RFC 9562, 5.7): 48 bits of unix milliseconds, then 74 random bits.

    The random bits need not be secret; Python seeds its generator anew in every forked process.
    """
    random = getrandbits(74)
    value = (
        (time.time_ns() // 1_000_000) << 80
        | 0x7 << 76
        | random >> 62 << 64
        | 0b10 << 62
        | random & _LOW_62_BITS
    )
    return f"{value:032x}"
