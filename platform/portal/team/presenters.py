"""What the team's pages show: members and invitations, and the audit log in words."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts.access import Actor
from accounts.invitations import is_open, open_invitations
from accounts.members import role_name
from accounts.models import AuditEntry, Role
from portal.team.forms import ROLE_MEANINGS, InvitationForm
from portal.team.queries import AuditFilter, AuditPage, roster_of
from portal.ui.paging import Pager

# An action without a title is shown by its name.
ACTION_TITLES = {
    "member.invited": _("Invited"),
    "invitation.withdrawn": _("Invitation withdrawn"),
    "member.joined": _("Joined"),
    "member.role_changed": _("Role changed"),
    "member.removed": _("Removed"),
    "member.left": _("Left"),
    "team.created": _("Team created"),
    "team.renamed": _("Team renamed"),
    "key.created": _("Key created"),
    "key.updated": _("Key changed"),
    "key.rotated": _("Key rotated"),
    "key.revoked": _("Key revoked"),
    "team.changed": _("Team changed"),
    "account.changed": _("Member account changed"),
    "member.added": _("Added"),
    "member.changed": _("Member changed"),
    "refund.requested": _("Refund"),
    "team.paused": _("Keys paused"),
    "team.resumed": _("Keys resumed"),
    "dispute.handled": _("Dispute closed"),
    "dispute.corrected": _("Dispute credits granted"),
    "fraudwarning.handled": _("Fraud warning closed"),
    "credits.ordered": _("Credits ordered"),
    "billing.portal_opened": _("Billing details opened"),
    "billing.card_setup_opened": _("Add card started"),
    "auto_top_up.changed": _("Auto top-up changed"),
    "code.redeemed": _("Code redeemed"),
    "plan.ordered": _("Plan ordered"),
    "plan.upgraded": _("Plan upgraded"),
    "plan.downgraded": _("Plan downgrade scheduled"),
    "plan.cancelled": _("Plan canceled"),
    "plan.resumed": _("Plan kept"),
    "credits.granted": _("Credits granted"),
    "balance.adjusted": _("Balance adjusted"),
    "goodwill.given": _("Goodwill credits"),
    "usage.corrected": _("Estimated usage corrected"),
    "refund.confirmed": _("Refund confirmed"),
    "credits.requested": _("Credits requested"),
    "credits.rejected": _("Credits rejected"),
    "team.frozen": _("Team frozen"),
    "team.unfrozen": _("Team unfrozen"),
    "key.frozen": _("Key frozen"),
    "key.unfrozen": _("Key unfrozen"),
    "key.flagged": _("Unusual use of a key"),
    "key.guarded": _("Key guard changed"),
    "budget.set": _("Budget set"),
    "budget.removed": _("Budget removed"),
    "team.limits_changed": _("Limits changed"),
    "team.plan_changed": _("Plan changed"),
    "account.sessions_ended": _("Member signed out everywhere"),
    "email.resent": _("Email sent again"),
    "webhook.created": _("Webhook added"),
    "webhook.changed": _("Webhook changed"),
    "webhook.secret_rotated": _("Webhook secret rotated"),
    "webhook.disabled": _("Webhook disabled"),
    "webhook.enabled": _("Webhook enabled"),
    "webhook.deleted": _("Webhook deleted"),
    "team.viewed": _("Portal viewed by staff"),
}


# The names of an entry's details; others are shown by their keys, and all values as stored.
_FACTS = {
    "amount": _("amount"),
    "amount_cents": _("amount cents"),
    "amount_dollars": _("amount dollars"),
    "auto_top_up": _("auto top up"),
    "below": _("below"),
    "email": _("email"),
    "fields": _("fields"),
    "for": pgettext_lazy("contract", "for"),
    "from": pgettext_lazy("contract", "from"),
    "frozen_for": _("frozen for"),
    "grace_seconds": _("grace seconds"),
    "is_forced": _("is forced"),
    "monthly_limit": _("monthly limit"),
    "note": _("note"),
    "period": _("period"),
    "plan": _("plan"),
    "reason": _("reason"),
    "resumes": _("resumes"),
    "role": _("role"),
    "scope": _("scope"),
    "sessions": _("sessions"),
    "successor": _("successor"),
    "terms": _("terms"),
    "to": pgettext_lazy("email", "to"),
    "until": _("until"),
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
    """An entry in words. Its details are pairs of a name, which may be empty, and a text."""

    entry: AuditEntry
    actor: str
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
    if entry.action == "member.role_changed":
        detail |= {name: role_name(str(detail[name])) for name in ("from", "to") if name in detail}
    if {"from", "to"} <= detail.keys():
        facts.append(("", f"{detail.pop('from')} → {detail.pop('to')}"))
    facts += [(_name_of(name), _text_of(name, value)) for name, value in detail.items()]
    title = str(ACTION_TITLES.get(entry.action, entry.action))
    return AuditLine(entry, _actor_of(entry.actor_label), title, facts)


def _actor_of(label: str) -> str:
    """Return an actor's label, those of `accounts.audit` in the reader's language."""
    kind, _colon, name = label.partition(": ")
    if label == "the service":
        return gettext("the service")
    if kind == "staff":
        return gettext("staff: {name}").format(name=name) if name else gettext("staff")
    if label.startswith("management key "):
        return gettext("management key {key}").format(key=label.removeprefix("management key "))
    return label


def _name_of(name: str) -> str:
    return str(_FACTS.get(name, name.replace("_", " ")))


def _text_of(name: str, value: object) -> str:
    if name == "role":
        return role_name(str(value))
    return ", ".join(str(each) for each in value) if isinstance(value, list) else str(value)


def _url(chosen: AuditFilter, **place: int) -> str:
    fields = {"action": chosen.action, "actor": chosen.actor, **place}
    return f"?{urlencode({name: value for name, value in fields.items() if value})}"
