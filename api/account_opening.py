"""Open a customer's account: user, team, credit account, credits and first key at once."""

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
class OpenedAccount:
    """A customer's account. `password` is set only if one was generated for a new user."""

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
) -> OpenedAccount:
    """Create the parts of an account that are missing, grant credits, and create an API key.

    An existing user, team and credit account stay as they are, the password included. A grant of
    `credit_nanos` (0 for none) is booked once for each `reference`, always if that is empty.
    """
    with transaction.atomic():
        user = User.objects.filter(email=User.objects.normalize_email(email).lower()).first()
        generated = None
        if user is None:
            generated = None if password else new_password()
            user, team = teams.sign_up(email, password or generated, name, is_verified=True)
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
    return OpenedAccount(user, team, account, key, plaintext, generated)


def open_team(owner: User, name: str, *, ip_address: str | None = None) -> Team:
    """Create another team for the user, with an empty credit account, and return it."""
    with transaction.atomic():
        team = teams.create_team(name, owner=owner)
        postings.open_account(team)
        actor = Actor(team=team, user=owner, role=Role.OWNER)
        audit.record(actor, "team.created", name, ip_address=ip_address)
    return team


def new_password() -> str:
    """Return a random password of 96 bits, for a person to type once."""
    return secrets.token_urlsafe(12)
