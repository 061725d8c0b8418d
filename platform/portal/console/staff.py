"""The console's pages about staff: invitations, and their log as a file."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminSelectWidget

from accounts import staff_invitations
from accounts.errors import AccountsError, InvitationClosedError
from accounts.models import StaffInvitation, User
from portal.access import STAFF_INVITATION_SESSION_KEY
from portal.console.access import StaffRequest, staff_page
from portal.console.shell import page
from portal.emails.kinds import send_staff_invitation
from portal.ui.csv import Row, csv_response
from portal.ui.rate_limits import is_over_limit

_EMAILS_PER_USER = "60/h"
_SHOWN_INVITATIONS = 100
_BATCH_ENTRIES = 1000
_HEADER: Row = ["time_utc", "user", "action", "type", "object_id", "object", "changes"]


class InvitationForm(forms.Form):
    """The address to invite and its role, one of those that the inviter may invite to."""

    email = forms.EmailField(max_length=254, widget=UnfoldAdminEmailInputWidget)
    role = forms.ModelChoiceField(Group.objects.none(), widget=UnfoldAdminSelectWidget)

    def __init__(self, staff: User, data: Any = None) -> None:
        super().__init__(data)
        offered = [role.pk for role in staff_invitations.roles_offered_by(staff)]
        roles = Group.objects.filter(pk__in=offered).order_by("name")
        self.fields["role"].queryset = roles  # type: ignore[attr-defined]


@require_http_methods(["GET", "HEAD", "POST"])
@staff_page(staff_invitations.PERMISSION)
def invitations(request: StaffRequest) -> HttpResponse:
    """List the invitations, newest first; POST makes one and sends its email."""
    form = InvitationForm(request.user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        if is_over_limit(request, "invitations", _EMAILS_PER_USER):
            form.add_error("email", "You've sent too many invitations. Try again in an hour.")
        elif _invite(request, form):
            return redirect("console:staff_invitations")
    rows = StaffInvitation.objects.select_related("role", "invited_by").order_by("-pk")
    context = {
        "title": "Staff invitations",
        "form": form,
        "invitations": rows[:_SHOWN_INVITATIONS],
    }
    return page(request, "console/staff_invitations.html", context)


@require_POST
@staff_page(staff_invitations.PERMISSION)
def withdraw(request: StaffRequest, invitation_id: int) -> HttpResponse:
    """End an invitation."""
    try:
        found = staff_invitations.withdraw(request.user, invitation_id)
    except InvitationClosedError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"The invitation of {found.email} is withdrawn.")
    return redirect("console:staff_invitations")


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Show an invitation to whoever has its link; POST accepts it."""
    found = staff_invitations.find(token)
    if found is None or not staff_invitations.is_open(found):
        return _join_page(request, None, 410)
    user = request.user
    if not user.is_authenticated:
        # Lets them sign up even if sign-up is closed.
        request.session[STAFF_INVITATION_SESSION_KEY] = found.pk
        return _join_page(request, found)
    if not staff_invitations.is_for(found, user):
        return _join_page(request, found, 403)
    if request.method != "POST":
        return _join_page(request, found)
    try:
        staff_invitations.accept(found, user)
    except AccountsError as error:
        messages.error(request, str(error))
        return redirect(request.path)
    return redirect("admin:index")


def _join_page(
    request: HttpRequest, invitation: StaffInvitation | None, status: int = 200
) -> HttpResponse:
    context = {"invitation": invitation, "is_other": status == 403, "here": request.path}
    return render(request, "console/join.html", context, status=status)


def _invite(request: StaffRequest, form: InvitationForm) -> bool:
    """Invite the form's address, and show a message. Return whether the invitation was created."""
    email, role = form.cleaned_data["email"], form.cleaned_data["role"]
    try:
        made, token = staff_invitations.invite(request.user, email, role)
    except AccountsError as error:
        form.add_error("email", str(error))
        return False
    try:
        send_staff_invitation(made, token)
    except OSError:
        text = "We couldn't send the email. Withdraw the invitation and invite {} again later."
        messages.error(request, text.format(made.email))
    else:
        messages.success(request, f"The invitation is on its way to {made.email}.")
    return True


@require_safe
@staff_page("admin.view_logentry")
def log_csv(request: StaffRequest) -> HttpResponseBase:
    """Download the entries of the staff log that the list shows with the same query."""
    try:
        listed = admin.site.get_model_admin(LogEntry).get_changelist_instance(request)
    except IncorrectLookupParameters:
        raise BadRequest("The staff log has no such filter.") from None
    return csv_response("staff-log", _HEADER, _log_batches(listed.queryset))


def _log_batches(entries: QuerySet[LogEntry]) -> Iterator[list[Row]]:
    """Yield the entries, newest first, batch by batch, each a query of its own."""
    entries = entries.select_related("user", "content_type").order_by("-pk")
    batch = list(entries[:_BATCH_ENTRIES])
    while batch:
        yield [_log_row(entry) for entry in batch]
        batch = list(entries.filter(pk__lt=batch[-1].pk)[:_BATCH_ENTRIES])


def _log_row(entry: LogEntry) -> Row:
    user: User = entry.user  # type: ignore[assignment]  # the stubs have none
    kind: ContentType | None = entry.content_type  # type: ignore[assignment]
    return [
        entry.action_time.isoformat(),
        user.email,
        str(entry.get_action_flag_display()),
        f"{kind.app_label}.{kind.model}" if kind else "",
        entry.object_id,
        entry.object_repr,
        entry.get_change_message(),
    ]
