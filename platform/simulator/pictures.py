"""Pictures that are real: small PNG files of any size, each number in another colour."""

import struct
import zlib
from functools import lru_cache

_COLOURS = ((38, 70, 83), (42, 157, 143), (233, 196, 106), (244, 162, 97), (231, 111, 81))
_PAPER = (250, 250, 247)
_BAR_HEIGHT = 16


@lru_cache(maxsize=256)
def png(width: int, height: int, number: int) -> bytes:
    """Return a PNG file: bars of one colour on paper, a bit a pixel, so that it stays small."""
    palette = bytes((*_PAPER, *_COLOURS[number % len(_COLOURS)]))
    row_bytes = -(-width // 8)
    rows = b"".join(
        b"\x00" + (b"\xff" if row // _BAR_HEIGHT % 2 else b"\x00") * row_bytes
        for row in range(height)
    )
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0))
        + _chunk(b"PLTE", palette)
        + _chunk(b"IDAT", zlib.compress(rows, 9))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
