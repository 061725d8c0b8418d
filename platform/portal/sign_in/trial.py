"""Trial credit: once for each mailbox and once for each team, whatever races."""

import hashlib

import structlog
from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction

from accounts.models import User
from accounts.teams import personal_team
from billing.ledger import postings
from billing.models import CreditAccount, Transfer
from billing.pricing.money import nanos_from_dollars
from portal.sign_in.mailboxes import mailbox_of

log = structlog.get_logger(__name__)

_PREFIX = "trial:"


def grant_trial(user: User, address: str) -> int:
    """Grants the trial credit for an address that was just verified. Returns the nano-dollars.

    0: there is none to give, or the mailbox or the user's team has had one.
    """
    amount_nanos = nanos_from_dollars(settings.TRIAL_CREDIT_DOLLARS)
    team = personal_team(user)
    if amount_nanos == 0 or team is None:
        return 0
    postings.open_account(team)
    with transaction.atomic():
        # Two addresses of one user, verified at the same moment, wait for each other here.
        account = CreditAccount.objects.select_for_update().get(team=team)
        had = Transfer.objects.filter(
            credit_account=account, kind=Transfer.Kind.GRANT, reference__startswith=_PREFIX
        )
        if had.exists():
            return 0
        try:
            postings.grant(
                account, amount_nanos, reference=trial_reference(address), memo="Trial credit"
            )
        except postings.ReferenceReusedError:
            log.info("trial_refused", team=team.slug)
            return 0
    return amount_nanos


def grant_trial_to(user: User) -> int:
    """Grants the trial credit for the user's primary address, if it is verified."""
    address = EmailAddress.objects.filter(user=user, primary=True, verified=True).first()
    return grant_trial(user, address.email) if address is not None else 0


def trial_reference(address: str) -> str:
    """Returns the reference that the ledger takes once: the mailbox, unreadable in the books."""
    return _PREFIX + hashlib.sha256(mailbox_of(address).encode()).hexdigest()
