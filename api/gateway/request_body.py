"""A request's body: its JSON, decoded strictly, and a keyed digest of it.

JSON comes from strangers: what is ambiguous or can do harm is refused, not guessed at.
`msgspec` already refuses what isn't UTF-8, NaN and Infinity, numbers out of range, numbers of
thousands of digits, raw control characters, lone surrogates and anything after the end. This
module adds the rest. Its checks read bytes rather than walk the objects, which makes the whole
2 µs for a small body (the standard library with a hook for pairs: 5 µs) and 1 s for 20 MB of the
worst kind.

None of these calls lets another thread run before it returns: `msgspec` keeps the interpreter's
lock for the 75 ms that 10 MB of messages take. So a large body is decoded member by member, in
calls of a few milliseconds, by a thread beside the event loop.

The digest is to recognize a client's retry of the request. No body is stored. It is keyed with a
secret derived from the newest pepper and with the digest of the API key, so that a reader of the
database can neither test guesses of a body nor see that two keys sent the same one. It is stored
only for requests that did not complete. Some clients repeat a broken stream without `stream`
(Claude Code does), so the digest leaves that out.
"""

import hmac
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache

import msgspec

from accounts.keys import derived_secret
from api.phrases import Phrase

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
    (re.compile("truncated"), Phrase("it ends too early, or a `\\u` escape is half of a pair.")),
    (re.compile("surrogate"), Phrase("a `\\u` escape is half of a surrogate pair.")),
    (re.compile("out of range"), Phrase("a number is out of range.")),
)
# The members that the digest leaves out.
_STREAM = re.compile(rb'"stream(?:_options)?"\s*:\s*(?:true|false|null|\{[^{}]*\})')
_COMMA = re.compile(rb"\s*,\s*")
# Members beyond these stay in the digest: a body full of them must not cost time.
_MOST_PLACES = 16


class UnacceptableJsonError(ValueError):
    """The text is no JSON object that we accept; `reason` says why, for the client to read."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode_object(body: bytes) -> dict[str, object]:
    """Return the JSON object that the body is. Raise UnacceptableJsonError."""
    _check_marks(body)
    try:
        decoded = _decode(body)
        encoded = _encode(decoded)
    except RecursionError:
        raise UnacceptableJsonError(Phrase("it is nested too deeply.")) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnacceptableJsonError(_reason(body, error)) from None
    if type(decoded) is not dict:
        raise UnacceptableJsonError(Phrase("expected an object at the top level."))
    # In JSON every key has a colon after it, and of equal keys `msgspec` keeps the last: the
    # encoded form has as many colons as the body, escaped ones counted, or else a key was dropped.
    colons = body.count(b":")
    if b"\\u003" in body:
        colons += _count_escapes(_COLON_ESCAPES, body)
    if colons != encoded.count(b":"):
        raise UnacceptableJsonError(
            Phrase("{key} occurs twice in one object.", key=_duplicate_key(body))
        )
    if b"\\u0000" in encoded and _count_escapes(_NUL_ESCAPES, encoded):
        raise UnacceptableJsonError(Phrase("a string has a NUL character."))
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
        raise UnacceptableJsonError(Phrase("expected an object at the top level."))
    colons = _count(body, b":")
    if _count(body, b"\\u003"):
        colons += _count_escapes(_COLON_ESCAPES, body)
    if colons != colons_left:
        raise UnacceptableJsonError(
            Phrase("{key} occurs twice in one object.", key=_duplicate_key(body))
        )
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
        raise UnacceptableJsonError(Phrase("a string has a NUL character."))
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
        raise UnacceptableJsonError(Phrase("it has more than a million objects, arrays and keys."))


def _count_escapes(pattern: re.Pattern[bytes], text: bytes) -> int:
    """Return how many of the pattern's matches are escapes, and not a backslash before text."""
    return sum((len(match) - len("u0000")) % 2 for match in pattern.findall(text))


def _reason(body: bytes, error: Exception) -> str:
    """Return what is wrong with a body, in words that hold for the body's author."""
    if not body.strip():
        return Phrase("it is empty.")
    if isinstance(error, UnicodeDecodeError):
        return Phrase("it is not UTF-8.")
    text = str(error)
    for pattern, reason in _MESSAGES:
        if pattern.search(text):
            return reason
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


def digest_of(body: bytes, key_digest: str, boundary: bytes = b"") -> str:
    """Return the digest as 32 hexadecimal digits. `boundary` is a form's, which each try renews."""
    body = body.replace(boundary, b"") if boundary else _without_stream(body)
    key = _secret() + bytes.fromhex(key_digest)
    # SHA-256 is twice as fast as BLAKE2 where the processor has instructions for it.
    return hmac.digest(key, body, "sha256")[:16].hex()


@cache
def _secret() -> bytes:
    return derived_secret(b"request bodies")


def _without_stream(body: bytes) -> bytes:
    """Return a JSON object's text without the members `stream` and `stream_options`.

    Within a string, quotation marks are escaped, so no text inside one is taken for a member.
    """
    parts: list[bytes] = []
    begin = at = 0
    for _ in range(_MOST_PLACES):
        at = body.find(b'"stream', at)
        if at < 0:
            break
        member = _STREAM.match(body, at)
        if member is None:
            at += 1
            continue
        end = member.end()
        parts.append(body[begin:at])
        if comma := _COMMA.match(body, end):
            end = comma.end()
        else:
            parts = [b"".join(parts).rstrip().removesuffix(b",").rstrip()]
        begin = at = end
    return b"".join([*parts, body[begin:]]) if parts else body
