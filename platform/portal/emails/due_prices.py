"""Notices of price changes, to teams that use the models."""

from collections.abc import Iterator
from datetime import datetime
from zlib import crc32

from django.conf import settings
from django.utils import translation

from accounts.models import SentNotice, Team, User
from accounts.zones import moment_for
from api.catalogue.price_changes import PriceChange, announced_changes, changes_by_team
from portal.emails.due import Notice, members_of


def price_changes(now: datetime) -> Iterator[Notice]:
    """Yield a notice of each announced price change to the members who may pay."""
    for listed in announced_changes(now):
        changes = changes_by_team(listed, now)
        members = members_of(set(changes))
        for team in Team.objects.filter(pk__in=members).order_by("pk"):
            change = changes[team.pk]
            # A notice is sent for each of a person's teams, and again if the change itself changes.
            with translation.override(settings.LANGUAGE_CODE):
                digest = crc32(f"{change.effective_from} {change.text}".encode())
            reference = f"price {change.version_id} {digest:08x} team {team.pk}"
            for user in members[team.pk]:
                facts = _facts(change, user)
                yield Notice(user, team, SentNotice.Kind.PRICE_CHANGE, reference, facts)


def _facts(change: PriceChange, user: User) -> dict[str, str | int]:
    """Return what the user's notice says, in their zone and language."""
    with translation.override(user.language or settings.LANGUAGE_CODE):
        return {
            "model": change.model,
            "effective_from": moment_for(change.effective_from, user.zone),
            "change": change.text,
        }
