"""Staff's actions on a customer: permission, form and the one function that does each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from allauth.account.internal.flows.password_reset import request_password_reset
from django.forms import Form
from django.http import HttpRequest

from accounts import invitations, staff_actions
from accounts.audit import Staff
from accounts.errors import AccountsError
from accounts.models import Role, Team, User
from api.catalogue import contracts
from billing.models import ContractPrice, ManualPosting
from billing.payments import manual_postings
from portal.access import start_view_as
from portal.console import contract_forms, forms
from portal.emails.kinds import send_invitation
from portal.team.forms import ROLE_MEANINGS


class ActionError(Exception):
    """An action was refused. The message is for staff; `field` is the form's field, or None."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Action:
    """An action. `run` does it and returns the message to show; it raises ActionError."""

    name: str
    label: str
    title: str
    permission: str
    form: Callable[..., Form]
    run: Callable[[HttpRequest, Staff, Any], str]
    applies_to: Callable[[Team], bool] = lambda _team: True
    leads_to: str = ""  # a URL's name; empty: back to the customer


def run(action: Action, request: HttpRequest, staff: Staff, form: Form) -> str:
    """Do the action with a valid form, and return the message to show.

    Raise ActionError if it was refused; nothing has changed then.
    """
    try:
        return action.run(request, staff, form)
    except manual_postings.ManualPostingError as error:
        raise ActionError(str(error), error.field) from None
    except contracts.ContractError as error:
        raise ActionError(str(error), error.field) from None
    except AccountsError as error:
        raise ActionError(str(error)) from None


def actions_for(staff: User, team: Team) -> list[Action]:
    """Return the actions that the member of staff can take on the team now."""
    return [
        action
        for action in ACTIONS.values()
        if staff.has_perm(action.permission) and action.applies_to(team)
    ]


def _post(_request: HttpRequest, staff: Staff, form: forms.PostingForm) -> str:
    posting = manual_postings.request(staff, form.wanted())
    if posting.state == ManualPosting.State.PENDING:
        return "Requested. Another member of staff must confirm it (Manual postings)."
    return f"{posting.get_kind_display()}."


def _set_contract(_request: HttpRequest, staff: Staff, form: contract_forms.ContractForm) -> str:
    contract = contracts.request(staff, form.terms())
    if contract.state == ContractPrice.State.PENDING:
        return "Requested. Another member of staff must confirm it (Contract prices)."
    return f"Contract price set for {contract.covers}: {contract.terms}."


def _end_contract(_request: HttpRequest, staff: Staff, form: contract_forms.EndContractForm) -> str:
    contract = form.cleaned_data["contract"]
    contracts.end(staff, contract, form.cleaned_data["reason"])
    return f"The contract price for {contract.covers} has been ended."


def _change_limits(_request: HttpRequest, staff: Staff, form: forms.LimitsForm) -> str:
    data = form.cleaned_data
    staff_actions.change_limits(
        staff,
        concurrent_requests=data["concurrent_requests"],
        max_keys=data["max_keys"],
        reason=data["reason"],
    )
    return "The limits have been changed."


def _change_plan(_request: HttpRequest, staff: Staff, form: forms.PlanForm) -> str:
    staff_actions.change_plan(staff, form.cleaned_data["plan"], form.cleaned_data["reason"])
    return f"The team is now on {form.cleaned_data['plan'].title}."


def _freeze_team(_request: HttpRequest, staff: Staff, form: forms.ActionForm) -> str:
    staff_actions.freeze_team(staff, form.cleaned_data["reason"])
    return "The team's keys are refused from now on."


def _unfreeze_team(_request: HttpRequest, staff: Staff, form: forms.ActionForm) -> str:
    staff_actions.unfreeze_team(staff, form.cleaned_data["reason"])
    return "The team's keys are accepted again."


def _freeze_key(_request: HttpRequest, staff: Staff, form: forms.KeyForm) -> str:
    staff_actions.freeze_key(staff, form.cleaned_data["key"], form.cleaned_data["reason"])
    return "The key is refused from now on."


def _unfreeze_key(_request: HttpRequest, staff: Staff, form: forms.KeyForm) -> str:
    staff_actions.unfreeze_key(staff, form.cleaned_data["key"], form.cleaned_data["reason"])
    return "The key is accepted again."


def _end_sessions(_request: HttpRequest, staff: Staff, form: forms.MemberForm) -> str:
    member = form.cleaned_data["member"]
    ended = staff_actions.end_sessions(staff, member, form.cleaned_data["reason"])
    return f"Sessions ended: {ended}."


def _send_email(request: HttpRequest, staff: Staff, form: forms.EmailForm) -> str:
    """Resend an invitation, or send a member a link to set a new password."""
    kind, _, row_id = form.cleaned_data["email"].partition(":")
    try:
        if kind == "invitation":
            invitation, token = invitations.renew_by_staff(staff.team, int(row_id))
            send_invitation(invitation, token, ROLE_MEANINGS[Role(invitation.role)])
            to = invitation.email
        else:
            user = staff.team.members.get(pk=int(row_id))
            request_password_reset(request, user.email, [user], None)
            to = user.email
    except OSError:
        raise ActionError("The mail server refused the email. Try again later.", "email") from None
    detail = {"to": to, "email": kind}
    staff_actions.log_action(
        staff, "email.resent", staff.team, form.cleaned_data["reason"], detail=detail
    )
    return f"Sent to {to}."


def _view_as(request: HttpRequest, staff: Staff, form: forms.ActionForm) -> str:
    staff_actions.log_action(staff, "team.viewed", staff.team, form.cleaned_data["reason"])
    start_view_as(request, staff.team)
    return ""


def _add_note(_request: HttpRequest, staff: Staff, form: forms.NoteForm) -> str:
    staff_actions.add_note(staff, form.cleaned_data["text"])
    return "The note has been added."


def _change_tags(_request: HttpRequest, staff: Staff, form: forms.TagsForm) -> str:
    staff_actions.change_tags(staff, form.cleaned_data["tags"])
    return "The tags have been changed."


def _is_frozen(team: Team) -> bool:
    return team.suspended_at is not None


ACTIONS = {
    action.name: action
    for action in (
        Action(
            "grant",
            "Grant credits",
            "Grant promotional credits",
            "billing.grant_credits",
            forms.GrantForm,
            _post,
        ),
        Action(
            "goodwill",
            "Goodwill",
            "Give goodwill credits",
            "billing.give_goodwill",
            forms.PostingForm,
            _post,
        ),
        Action(
            "adjust",
            "Adjust balance",
            "Adjust the balance",
            "billing.adjust_balance",
            forms.AdjustForm,
            _post,
        ),
        Action(
            "limits",
            "Limits",
            "Change the limits",
            "accounts.change_team",
            forms.LimitsForm,
            _change_limits,
        ),
        Action(
            "plan",
            "Plan",
            "Change the plan",
            "accounts.change_team",
            forms.PlanForm,
            _change_plan,
        ),
        Action(
            "contract",
            "Contract price",
            "Set a contract price",
            "billing.set_contractprice",
            contract_forms.ContractForm,
            _set_contract,
        ),
        Action(
            "end-contract",
            "End contract price",
            "End a contract price",
            "billing.set_contractprice",
            contract_forms.EndContractForm,
            _end_contract,
            applies_to=lambda team: any(True for _ in contracts.open_contracts(team)),
        ),
        Action(
            "freeze-key",
            "Freeze a key",
            "Freeze an API key",
            "accounts.freeze_team",
            forms.KeyForm,
            _freeze_key,
        ),
        Action(
            "unfreeze-key",
            "Unfreeze a key",
            "Unfreeze an API key",
            "accounts.freeze_team",
            forms.FrozenKeyForm,
            _unfreeze_key,
            applies_to=lambda team: team.api_keys.filter(frozen_at__isnull=False).exists(),
        ),
        Action(
            "freeze",
            "Freeze team",
            "Freeze the team",
            "accounts.freeze_team",
            forms.ActionForm,
            _freeze_team,
            applies_to=lambda team: not _is_frozen(team),
        ),
        Action(
            "unfreeze",
            "Unfreeze team",
            "Unfreeze the team",
            "accounts.freeze_team",
            forms.ActionForm,
            _unfreeze_team,
            applies_to=_is_frozen,
        ),
        Action(
            "email",
            "Send an email again",
            "Send an email again",
            "accounts.resend_emails",
            forms.EmailForm,
            _send_email,
        ),
        Action(
            "sessions",
            "End sessions",
            "End a member's sessions",
            "accounts.end_sessions",
            forms.MemberForm,
            _end_sessions,
        ),
        Action(
            "view-as",
            "View as customer",
            "View the portal as the customer sees it",
            "accounts.view_as_customer",
            forms.ActionForm,
            _view_as,
            leads_to="dashboard",
        ),
        Action(
            "note",
            "Add a note",
            "Add a note",
            "accounts.add_staffnote",
            forms.NoteForm,
            _add_note,
        ),
        Action(
            "tags",
            "Tags",
            "Change the tags",
            "accounts.add_staffnote",
            forms.TagsForm,
            _change_tags,
        ),
    )
}
