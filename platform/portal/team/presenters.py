"""What the team's pages show: members and invitations, and the audit log in words."""

from dataclasses import dataclass
from urllib.parse import urlencode

from accounts.access import Actor
from accounts.invitations import is_open, open_invitations
from accounts.models import AuditEntry, Role
from portal.team.forms import ROLE_MEANINGS, InvitationForm
from portal.team.queries import AuditFilter, AuditPage, roster_of
from portal.ui.paging import Pager

# An action without a title is shown by its name.
ACTION_TITLES = {
    "member.invited": "Invited",
    "invitation.withdrawn": "Invitation withdrawn",
    "member.joined": "Joined",
    "member.role_changed": "Role changed",
    "member.removed": "Removed",
    "member.left": "Left",
    "team.created": "Team created",
    "team.renamed": "Team renamed",
    "key.created": "Key created",
    "key.updated": "Key changed",
    "key.rotated": "Key rotated",
    "key.revoked": "Key revoked",
    "team.changed": "Team changed",
    "account.changed": "Member account changed",
    "member.added": "Added",
    "member.changed": "Member changed",
    "refund.requested": "Refund",
    "team.paused": "Keys paused",
    "team.resumed": "Keys resumed",
    "dispute.handled": "Dispute closed",
    "dispute.corrected": "Dispute credits granted",
    "fraudwarning.handled": "Fraud warning closed",
    "credits.ordered": "Credits ordered",
    "billing.portal_opened": "Billing details opened",
    "billing.card_setup_opened": "Add card started",
    "auto_top_up.changed": "Auto top-up changed",
    "code.redeemed": "Code redeemed",
    "plan.ordered": "Plan ordered",
    "plan.upgraded": "Plan upgraded",
    "plan.downgraded": "Plan downgrade scheduled",
    "plan.cancelled": "Plan canceled",
    "plan.resumed": "Plan kept",
    "credits.granted": "Credits granted",
    "balance.adjusted": "Balance adjusted",
    "goodwill.given": "Goodwill credits",
    "usage.corrected": "Estimated usage corrected",
    "refund.confirmed": "Refund confirmed",
    "credits.requested": "Credits requested",
    "credits.rejected": "Credits rejected",
    "team.frozen": "Team frozen",
    "team.unfrozen": "Team unfrozen",
    "key.frozen": "Key frozen",
    "key.unfrozen": "Key unfrozen",
    "team.limits_changed": "Limits changed",
    "team.plan_changed": "Plan changed",
    "account.sessions_ended": "Member signed out everywhere",
    "email.resent": "Email sent again",
    "team.viewed": "Portal viewed by staff",
}


def team_context(actor: Actor, form: InvitationForm) -> dict[str, object]:
    """Return the context of the team's page: members, and invitations to those who manage them."""
    context: dict[str, object] = {"roster": roster_of(actor)}
    if actor.may_manage_members:
        context |= {
            "form": form,
            "role_meanings": role_meanings(actor),
            "invitations": [
                (each, is_open(each), actor.may_handle(each))
                for each in open_invitations(actor.team)
            ],
        }
    return context


def role_meanings(actor: Actor) -> list[tuple[Role, str]]:
    """Return the roles that the actor may give, with what each may do."""
    return [(role, ROLE_MEANINGS[role]) for role in actor.grantable_roles]


@dataclass(frozen=True)
class AuditLine:
    """An entry, its title, and its details as pairs of a name (maybe empty) and a text."""

    entry: AuditEntry
    title: str
    facts: list[tuple[str, str]]


def audit_context(page: AuditPage, chosen: AuditFilter) -> dict[str, object]:
    """Return the context of a page of the audit log."""
    first, last = (page.entries[0], page.entries[-1]) if page.entries else (None, None)
    return {
        "lines": [_audit_line(entry) for entry in page.entries],
        "page": Pager(
            newer_url=_url(chosen, after=first.pk) if first and page.has_newer else "",
            older_url=_url(chosen, before=last.pk) if last and page.has_older else "",
        ),
        "chosen": chosen,
        "actions": ACTION_TITLES.items(),
    }


def _audit_line(entry: AuditEntry) -> AuditLine:
    detail = dict(entry.detail)
    facts = []
    if {"from", "to"} <= detail.keys():
        facts.append(("", f"{detail.pop('from')} → {detail.pop('to')}"))
    facts += [(name.replace("_", " "), _text_of(value)) for name, value in detail.items()]
    return AuditLine(entry, ACTION_TITLES.get(entry.action, entry.action), facts)


def _text_of(value: object) -> str:
    return ", ".join(str(each) for each in value) if isinstance(value, list) else str(value)


def _url(chosen: AuditFilter, **place: int) -> str:
    fields = {"action": chosen.action, "actor": chosen.actor, **place}
    return f"?{urlencode({name: value for name, value in fields.items() if value})}"
