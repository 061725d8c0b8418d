"""The notices of prices that will change, to teams that use the models."""

from collections.abc import Iterator
from datetime import datetime
from zlib import crc32

from accounts.models import SentNotice, Team
from api.catalogue.price_changes import announced_changes, teams_using
from portal.emails.due import Notice, payers_of


def price_changes(now: datetime) -> Iterator[Notice]:
    """Yield who should hear of announced prices to come: members who may pay."""
    for change in announced_changes(now):
        members = payers_of(teams_using(change.model, now))
        for team in Team.objects.filter(pk__in=members).order_by("pk"):
            facts: dict[str, str | int] = {
                "model": change.model,
                "effective_from": f"{change.effective_from:%Y-%m-%d %H:%M} UTC",
                "change": change.text,
            }
            for user in members[team.pk]:
                # For each of a person's teams, and again if the change itself changes.
                what = crc32(f"{change.effective_from} {change.text}".encode())
                reference = f"price {change.version_id} {what:08x} team {team.pk}"
                yield Notice(user, team, SentNotice.Kind.PRICE_CHANGE, reference, facts)
