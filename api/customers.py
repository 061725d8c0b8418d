"""Opening a customer's books: user, team, credit account, credits and first key at once."""

import secrets
from dataclasses import dataclass

from django.db import transaction

from accounts import api_keys, audit, teams
from accounts.access import Actor
from accounts.models import ApiKey, Role, Team, User
from api.service import current_service
from billing.ledger import postings
from billing.models import CreditAccount


@dataclass(frozen=True)
class Customer:
    """What was opened. `password` is there only when one was made up for a new user."""

    user: User
    team: Team
    account: CreditAccount
    key: ApiKey
    plaintext: str
    password: str | None


def open_customer(
    email: str,
    *,
    password: str | None = None,
    name: str = "",
    team_name: str = "",
    key_name: str = "First key",
    credit_nanos: int = 0,
    reference: str = "",
    memo: str = "",
) -> Customer:
    """Make what is missing of a customer, a new API key in any case, and grants credits.

    A user, team and account that exist are kept as they are, their password too. A grant of
    `credit_nanos` (0 for none) moves once for each `reference`; an empty one is a grant of its own.
    """
    with transaction.atomic():
        user = User.objects.filter(email=User.objects.normalize_email(email).lower()).first()
        made_up = None
        if user is None:
            made_up = None if password else new_password()
            user, team = teams.sign_up(email, password or made_up, name, is_verified=True)
        else:
            team = teams.ensure_personal_team(user)
        if team_name and team.name != team_name:
            team.name = team_name
            team.save(update_fields=["name"])
        account = postings.open_account(team)
        if credit_nanos:
            postings.grant(
                account,
                amount_nanos=credit_nanos,
                reference=reference or f"command:{secrets.token_hex(16)}",
                memo=memo,
            )
            account.refresh_from_db()
        key, plaintext = api_keys.create_key(
            team, user, key_name, prefix=current_service().key_prefix
        )
    return Customer(user, team, account, key, plaintext, made_up)


def open_team(owner: User, name: str, *, ip_address: str | None = None) -> Team:
    """Make a further team of the user's with an empty credit account, and return it."""
    with transaction.atomic():
        team = teams.create_team(name, owner=owner)
        postings.open_account(team)
        actor = Actor(team=team, user=owner, role=Role.OWNER)
        audit.record(actor, "team.created", name, ip_address=ip_address)
    return team


def new_password() -> str:
    """Return a random password of 96 bits, for a person to type once."""
    return secrets.token_urlsafe(12)
