"""The stand-in for Stripe is that of the tests of payments."""

from tests.payments.conftest import _stand_in_url, books_are_right, stand_in

__all__ = ["_stand_in_url", "books_are_right", "stand_in"]
