"""Idempotency keys: a repeat gets the first answer (docs.stripe.com/api/idempotent_requests)."""

from simulator.stripe.errors import StripeError

StoredResponse = tuple[int, str, bytes]
# What a call that was not carried out answers: its key may be used again.
NOT_KEPT = {400, 401, 404, 409, 429}


class Idempotency:
    """What was answered to each key, and which calls with one are under way.

    An empty key is none: nothing is found or kept for it.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, bytes, StoredResponse]] = {}
        self._under_way: set[str] = set()

    def find(self, key: str, path: str, body: bytes) -> StoredResponse | None:
        """Return the answer that a key got before.

        Raise StripeError where it came with another path or other parameters, or where its first
        call is not done yet.
        """
        if key in self._under_way:
            raise StripeError(
                "There is currently another in-progress request using this Idempotency Key.",
                status=409,
                kind="idempotency_error",
                code="idempotency_key_in_use",
            )
        if key not in self._kept:
            return None
        of_path, of_body, answer = self._kept[key]
        if (of_path, of_body) != (path, body):
            raise StripeError(
                "Keys for idempotent requests can only be used with the same parameters they were "
                "first used with.",
                kind="idempotency_error",
            )
        return answer

    def begin(self, key: str) -> None:
        """Note that a call with this key is under way."""
        if key:
            self._under_way.add(key)

    def end(self, key: str) -> None:
        """Note that it no longer is."""
        self._under_way.discard(key)

    def keep(self, key: str, path: str, body: bytes, answer: StoredResponse) -> None:
        """Remember an answer for good, a failure's too."""
        if key and answer[0] not in NOT_KEPT:
            self._kept[key] = (path, body, answer)

    def forget(self) -> None:
        """Forget every answer."""
        self._kept.clear()
