"""A new user's team, credit account, trial credit and referral.

Trial credit is granted once per mailbox and once per team, even under concurrent requests.
"""

from collections.abc import Collection

import structlog
from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone, translation

from accounts import invitations, staff_invitations
from accounts.mailboxes import known_digests, mailbox_digest, mailbox_of
from accounts.models import Invitation, Membership, StaffInvitation, Team, User
from accounts.teams import ensure_personal_team, personal_team
from api.service import current_service
from billing.ledger import postings
from billing.models import CreditAccount, Transfer
from billing.payments import promotions
from billing.pricing.money import nanos_from_dollars
from portal.access import INVITATION_SESSION_KEY, STAFF_INVITATION_SESSION_KEY
from portal.brand.current import cache, terms_version

log = structlog.get_logger(__name__)

_PREFIX = "trial:"
REFERRAL_SESSION_KEY = "referral"


def open_books(user: User) -> CreditAccount:
    """Return the credit account of the user's personal team, creating either if it is missing.

    Atomic and idempotent.
    """
    with transaction.atomic():
        return postings.open_account(ensure_personal_team(user))


def grant_trial(user: User, address: str) -> int:
    """Grant the trial credit for a newly verified address and return it in nano-dollars.

    Return 0 if there is no trial credit, or the mailbox or the user's team has already had it.
    """
    amount_nanos = nanos_from_dollars(settings.TRIAL_CREDIT_DOLLARS)
    team = personal_team(user)
    if amount_nanos == 0 or team is None:
        return 0
    postings.open_account(team)
    with transaction.atomic():
        # Serializes two addresses of one user that are verified at the same time.
        account = CreditAccount.objects.select_for_update().get(team=team)
        had = Transfer.objects.filter(
            credit_account=account, kind=Transfer.Kind.GRANT, reference__startswith=_PREFIX
        )
        given = Transfer.objects.filter(
            kind=Transfer.Kind.GRANT,
            reference__in=[_PREFIX + digest for digest in known_digests(address)],
        )
        if had.exists() or given.exists():
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
    """Grant the trial credit for the user's primary address, if it is verified."""
    address = EmailAddress.objects.filter(user=user, primary=True, verified=True).first()
    return grant_trial(user, address.email) if address is not None else 0


def trial_reference(address: str) -> str:
    """Return the grant's unique reference: the mailbox, as a digest."""
    return _PREFIX + mailbox_digest(address)


def is_disposable(address: str, domains: Collection[str]) -> bool:
    """Return whether the address is at one of the domains (lower case) or below one."""
    labels = address.strip().lower().rpartition("@")[2].rstrip(".").split(".")
    return any(".".join(labels[start:]) in domains for start in range(len(labels)))


def is_invited(request: HttpRequest, email: str | None = None) -> bool:
    """Return whether the session has an open invitation, for this address if one is given."""
    addresses = []
    if invitation_id := request.session.get(INVITATION_SESSION_KEY):
        teams = Invitation.objects.filter(pk=invitation_id)
        addresses += [each.email for each in teams if invitations.is_open(each)]
    if invitation_id := request.session.get(STAFF_INVITATION_SESSION_KEY):
        staff = StaffInvitation.objects.filter(pk=invitation_id)
        addresses += [each.email for each in staff if staff_invitations.is_open(each)]
    if email is None:
        return bool(addresses)
    return email.lower() in {address.lower() for address in addresses}


def note_sign_up(request: HttpRequest, user: User) -> None:
    """Record that the new user accepted the terms, their language, and who referred them.

    A referral by a team that has a member with the same mailbox is not recorded.
    """
    User.objects.filter(pk=user.pk).update(
        terms_version=terms_version(cache.brand_of(current_service())),
        terms_accepted_at=timezone.now(),
        language=translation.get_language() or "",
    )
    link = promotions.find_referral_link(request.session.pop(REFERRAL_SESSION_KEY, ""))
    team = personal_team(user)
    if link is None or team is None or _has_mailbox(link.team, user.email):
        return
    promotions.record_referral(team, link.code)


def _has_mailbox(team: Team, address: str) -> bool:
    members = Membership.objects.filter(team=team).values_list("user__email", flat=True)
    return mailbox_of(address) in {mailbox_of(each) for each in members}
