"""The bounds that an answer is metered by, without a request."""

from billing.pricing.rates import Rates


class Limits:
    """A request for one answer, with a prompt of likely 7 tokens."""

    choices = 1
    most_tokens = 136_000
    most_input = 136_000
    likely_input = 7
    most_output = 8_000
    prices = Rates()
    most = None

    def likely_output(self, text_bytes: int) -> int:
        """Return a token for each four bytes."""
        return text_bytes // 4
