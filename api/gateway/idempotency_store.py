"""The store of idempotency keys: which request has each, and its encrypted answer.

All secrets are derived from the API key, which only a request has: the database alone tells neither
the idempotency key nor the request nor the answer.
"""

import hmac
import secrets
import zlib
from typing import NamedTuple
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from api.jobs.store import JobStore

_NONCE_BYTES = 12  # NIST SP 800-38D, section 8.2.2

_IS_ALIVE = """
EXISTS (SELECT FROM billing_processlease l WHERE l.id = kept.lease_id AND l.ended_at IS NULL)
"""
_IS_HELD = """
EXISTS (SELECT FROM billing_reservation r WHERE r.id = kept.request_id AND r.state = 'open')
"""
_IS_CHARGED = """
EXISTS (SELECT FROM billing_usagerecord u
        WHERE u.request_id = kept.request_id AND u.charged_nanos > 0)
"""
# A row that exists is taken over if it has expired, or if its process died and nothing was charged.
# The last condition is for a statement that is sent twice.
_CLAIM = f"""
INSERT INTO api_idempotentrequest AS kept (
    id, key_id, fingerprint, request_id, endpoint, lease_id, state, answer, created_at, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, 'running', '', now(), now() + make_interval(secs => %s))
ON CONFLICT (id) DO UPDATE SET
    fingerprint = excluded.fingerprint, request_id = excluded.request_id,
    endpoint = excluded.endpoint, lease_id = excluded.lease_id, state = 'running', answer = '',
    created_at = now(), ended_at = NULL, expires_at = excluded.expires_at
WHERE (kept.state <> 'running' AND kept.expires_at < now())
   OR (kept.state = 'running' AND NOT {_IS_ALIVE} AND NOT {_IS_HELD}
       AND (NOT {_IS_CHARGED} OR kept.expires_at < now()))
   OR kept.request_id = excluded.request_id
RETURNING id
"""  # noqa: S608 - no value is in it
_LOOK = f"""
SELECT fingerprint, request_id, state, answer,
       {_IS_ALIVE}, {_IS_HELD}, {_IS_CHARGED}, extract(epoch FROM now() - created_at)::float8
FROM api_idempotentrequest kept WHERE id = %s
"""  # noqa: S608 - no value is in it
_END = """
UPDATE api_idempotentrequest SET state = %s, answer = %s, ended_at = now(),
    expires_at = now() + make_interval(secs => %s)
WHERE id = %s AND request_id = %s AND state = 'running'
"""
_RELEASE = """
DELETE FROM api_idempotentrequest WHERE id = %s AND request_id = %s AND state = 'running'
"""


class StoredAnswer(msgspec.Struct, array_like=True):
    """An answer as it was sent to the client."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Earlier(NamedTuple):
    """An earlier request with the key, and what the ledger says of it.

    `is_alive` says that its process is, `is_held` that its hold is open.
    """

    fingerprint: str
    request_id: UUID
    state: str
    answer: bytes
    is_alive: bool
    is_held: bool
    is_charged: bool
    age_seconds: float


class KeyClaim:
    """One idempotency key of one API key, as a request has or wants it.

    `id` is the row's. Methods that reach the database raise psycopg.Error.
    """

    def __init__(self, store: JobStore, api_key: str, idempotency_key: bytes) -> None:
        self._store = store
        # RFC 5869: one secret for each purpose.
        derived = HKDF(SHA256(), 96, salt=None, info=b"tollgate idempotency")
        made = derived.derive(api_key.encode())
        self._answers, self._requests = AESGCM(made[:32]), made[32:64]
        self.id = hmac.digest(made[64:], idempotency_key, "sha256").hex()

    def body_digest(self) -> hmac.HMAC:
        """Return a keyed digest to be fed with a request's body."""
        return hmac.new(self._requests, digestmod="sha256")

    def fingerprint(self, *parts: str) -> str:
        """Return the keyed digest of what makes a request the same."""
        return hmac.digest(self._requests, "\n".join(parts).encode(), "sha256").hex()

    async def take(
        self,
        *,
        key_id: int,
        fingerprint: str,
        request_id: str,
        endpoint: str,
        lease_id: int,
        seconds: float,
    ) -> bool:
        """Take the key for a request; return False if another has it."""
        row = (self.id, key_id, fingerprint, request_id, endpoint, lease_id, seconds)
        return bool(await self._store.execute(_CLAIM, row))

    async def earlier(self) -> Earlier | None:
        """Return the request that has the key."""
        rows = await self._store.execute(_LOOK, (self.id,))
        return Earlier(*rows[0]) if rows else None

    async def end(self, request_id: str, state: str, answer: bytes, seconds: float) -> None:
        """Record how the request ended, to be kept for so many seconds."""
        await self._store.execute(_END, (state, answer, seconds, self.id, request_id))

    async def release(self, request_id: str) -> None:
        """Let the key be used again, as if the request had not been sent."""
        await self._store.execute(_RELEASE, (self.id, request_id))

    def seal(self, request_id: str, answer: StoredAnswer) -> bytes:
        """Return the answer, compressed and encrypted for this row and request."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        packed = zlib.compress(msgspec.msgpack.encode(answer), level=1)
        return nonce + self._answers.encrypt(nonce, packed, self._place(request_id))

    def unseal(self, request_id: str, sealed: bytes) -> StoredAnswer:
        """Return the answer in this row."""
        nonce, rest = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        packed = zlib.decompress(self._answers.decrypt(nonce, rest, self._place(request_id)))
        return msgspec.msgpack.decode(packed, type=StoredAnswer)

    def _place(self, request_id: str) -> bytes:
        """Return what an answer's ciphertext is bound to."""
        return f"{self.id} {request_id}".encode()
