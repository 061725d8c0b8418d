"""Idempotency keys: a repeat gets the first answer (docs.stripe.com/api/idempotent_requests)."""

from simulator.stripe.errors import StripeError

Answer = tuple[int, str, bytes]


class Idempotency:
    """What was answered to each key. Answers of 4xx that are no card's are not kept."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, bytes, Answer]] = {}

    def find(self, key: str, path: str, body: bytes) -> Answer | None:
        """Returns the answer that a key got before.

        Raises StripeError where it came with another path or other parameters.
        """
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

    def keep(self, key: str, path: str, body: bytes, answer: Answer) -> None:
        """Remembers an answer for good."""
        if answer[0] not in {400, 401, 404}:
            self._kept[key] = (path, body, answer)
