"""JSON from strangers: what is ambiguous or can do harm is refused, not guessed at.

`msgspec` already refuses what isn't UTF-8, NaN and Infinity, numbers out of range, numbers of
thousands of digits, raw control characters, lone surrogates and anything after the end. This
module adds the rest. Its checks read bytes rather than walk the objects, which makes the whole
2 µs for a small body (the standard library with a hook for pairs: 5 µs) and 1 s for 20 MB of the
worst kind.

None of these calls lets another thread run before it returns: `msgspec` keeps the interpreter's
lock for the 75 ms that 10 MB of messages take. So a large body is decoded member by member, in
calls of a few milliseconds, by a thread beside the event loop.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import msgspec

# More would be no conversation, but an attempt to fill the memory: `[[],[],…` costs 30 bytes of
# memory for each byte sent.
MAX_MARKS = 1_000_000

# Of a large body: what is decoded in one call, how much is searched in one, how deep it is taken
# apart (to the parts of a message), and up to how many commas an array is (each item costs 100
# bytes meanwhile).
PIECE_BYTES = 64 * 1024
SLICE_BYTES = 512 * 1024
SPLIT_LEVELS = 5
MAX_COMMAS = 500_000

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_split_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_split_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
# With the backslashes before them: an odd number makes an escape, an even number is text.
_COLON_ESCAPES = re.compile(rb"\\+u003[aA]")
_NUL_ESCAPES = re.compile(rb"\\+u0000")
_MESSAGES = (
    (re.compile("truncated"), "it ends too early, or a `\\u` escape is half of a pair"),
    (re.compile("surrogate"), "a `\\u` escape is half of a surrogate pair"),
    (re.compile("out of range"), "a number is out of range"),
)


class UnacceptableJsonError(ValueError):
    """The text is no JSON object that we accept; the message says why, for the client to read."""


def decode_object(body: bytes) -> dict[str, object]:
    """Return the JSON object that the body is. Raise UnacceptableJsonError."""
    _check_marks(body)
    try:
        decoded = _decode(body)
        encoded = _encode(decoded)
    except RecursionError:
        raise UnacceptableJsonError("it is nested too deeply.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnacceptableJsonError(_reason(body, error)) from None
    if type(decoded) is not dict:
        raise UnacceptableJsonError("expected an object at the top level.")
    # In JSON every key has a colon after it, and of equal keys `msgspec` keeps the last: the
    # encoded form has as many colons as the body, escaped ones counted, or else a key was dropped.
    colons = body.count(b":")
    if b"\\u003" in body:
        colons += _count_escapes(_COLON_ESCAPES, body)
    if colons != encoded.count(b":"):
        raise UnacceptableJsonError(f"{_duplicate_key(body)} occurs twice in one object.")
    if b"\\u0000" in encoded and _count_escapes(_NUL_ESCAPES, encoded):
        raise UnacceptableJsonError("a string has a NUL character.")
    return decoded


def decode_large_object(body: bytes, piece_bytes: int = PIECE_BYTES) -> dict[str, object]:
    """Return what `decode_object` does, in many short calls. Raise UnacceptableJsonError."""
    _check_marks(body)
    try:
        decoded, colons_left = _decode_pieces(body, piece_bytes, SPLIT_LEVELS)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, UnacceptableJsonError):
        # Of several faults in the whole body, this finds the first; a piece can't know.
        return decode_object(body)
    if type(decoded) is not dict:
        raise UnacceptableJsonError("expected an object at the top level.")
    colons = _count(body, b":")
    if _count(body, b"\\u003"):
        colons += _count_escapes(_COLON_ESCAPES, body)
    if colons != colons_left:
        raise UnacceptableJsonError(f"{_duplicate_key(body)} occurs twice in one object.")
    return decoded


def _decode_pieces(text: bytes | msgspec.Raw, piece_bytes: int, levels: int) -> tuple[object, int]:
    """Return a value and the colons of its encoded form, taking apart what is large."""
    view = memoryview(text)
    if view.nbytes > piece_bytes and levels:
        first = bytes(view[:64]).lstrip()[:1]
        if first == b"{":
            return _decode_members(text, piece_bytes, levels - 1)
        if first == b"[" and _count(bytes(view), b",") <= MAX_COMMAS:
            return _decode_items(text, piece_bytes, levels - 1)
    value = _decode(text)
    return value, _colons_of(value)


def _decode_items(
    text: bytes | msgspec.Raw, piece_bytes: int, levels: int
) -> tuple[list[object], int]:
    """Return an array and the colons of its encoded form; small items are decoded together."""
    decoded: list[object] = []
    colons = 0
    for group in _groups(_split_array(text), piece_bytes):
        if len(group) == 1:
            value, inside = _decode_pieces(group[0], piece_bytes, levels)
            decoded.append(value)
        else:
            values = _decode(b"[%b]" % b",".join(group))
            inside = _colons_of(values)
            decoded += values
        colons += inside
    return decoded, colons


def _groups(items: list[msgspec.Raw], piece_bytes: int) -> Iterator[list[msgspec.Raw]]:
    """Yield the items in order: large ones alone, others in groups of about `piece_bytes`."""
    group: list[msgspec.Raw] = []
    size = 0
    for item in items:
        length = len(memoryview(item))
        if group and size + length > piece_bytes:
            yield group
            group, size = [], 0
        group.append(item)
        size += length
    if group:
        yield group


def _decode_members(
    text: bytes | msgspec.Raw, piece_bytes: int, levels: int
) -> tuple[dict[str, object], int]:
    """Return an object and the colons of its encoded form."""
    decoded: dict[str, object] = {}
    colons = 0
    for key, member in _split_object(text).items():
        decoded[key], inside = _decode_pieces(member, piece_bytes, levels)
        colons += 1 + inside + _colons_of(key)
    return decoded, colons


def _colons_of(value: object) -> int:
    """Return the colons of a value's encoded form. Raise UnacceptableJsonError for a NUL."""
    encoded = _encode(value)
    if _count(encoded, b"\\u0000") and _count_escapes(_NUL_ESCAPES, encoded):
        raise UnacceptableJsonError("a string has a NUL character.")
    return _count(encoded, b":")


def _count(text: bytes, pattern: bytes) -> int:
    """Return how often a pattern occurs that has no period, in searches of a bounded length."""
    if len(text) <= SLICE_BYTES:
        return text.count(pattern)
    return sum(
        text.count(pattern, start, start + SLICE_BYTES + len(pattern) - 1)
        for start in range(0, len(text), SLICE_BYTES)
    )


def _check_marks(body: bytes) -> None:
    """Raise UnacceptableJsonError where the body would fill the memory."""
    if _count(body, b"{") + _count(body, b"[") + _count(body, b'":') > MAX_MARKS:
        raise UnacceptableJsonError("it has more than a million objects, arrays and keys.")


def _count_escapes(pattern: re.Pattern[bytes], text: bytes) -> int:
    """Return how many of the pattern's matches are escapes, and not a backslash before text."""
    return sum((len(match) - len("u0000")) % 2 for match in pattern.findall(text))


def _reason(body: bytes, error: Exception) -> str:
    """Return what is wrong with a body, in words that hold for the body's author."""
    if not body.strip():
        return "it is empty."
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8."
    text = str(error)
    for pattern, reason in _MESSAGES:
        if pattern.search(text):
            return f"{reason}."
    return f"{text.removeprefix('JSON is malformed: ')}."


def _duplicate_key(body: bytes) -> str:
    """Return which key a body has twice, as far as it is worth the time to look for it."""
    found: list[str] = []

    def look(pairs: list[tuple[str, object]]) -> None:
        if len(dict(pairs)) != len(pairs):
            found.append(Counter(key for key, _ in pairs).most_common(1)[0][0])

    if len(body) < 100_000:
        with suppress(RecursionError):
            json.loads(body, object_pairs_hook=look)
    return f"the key {found[0][:64]!r}" if found else "a key"
