"""What belongs to a new user: a team of their own and its credit account."""

from django.db import transaction

from accounts.models import User
from accounts.teams import ensure_personal_team
from billing.ledger import postings
from billing.models import CreditAccount


def open_books(user: User) -> CreditAccount:
    """Returns the credit account of the user's personal team; both are made if they are not there.

    All or nothing, and a repeat makes nothing.
    """
    with transaction.atomic():
        return postings.open_account(ensure_personal_team(user))
