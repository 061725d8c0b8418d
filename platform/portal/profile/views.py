"""A user's settings: name, notifications, data export, account deletion."""

from django.contrib import messages
from django.contrib.auth import logout
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone, translation
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.access import memberships_of
from accounts.client_ip import client_ip
from accounts.deletion import consequences_for, delete_user
from accounts.errors import SharedTeamError
from accounts.models import NotificationSettings
from billing.models import CreditAccount
from portal.access import MemberRequest, member_page, require_recent_sign_in
from portal.language.middleware import language_of
from portal.profile.forms import DeletionForm, NotificationsForm, ProfileForm
from portal.profile.queries import archive
from portal.ui.money import dollars
from portal.ui.rate_limits import is_over_limit
from portal.ui.streaming import in_threads

EXPORTS_PER_USER = "5/h"
DELETION_TRIES_PER_USER = "10/h"


@require_http_methods(["GET", "HEAD", "POST"])
@member_page
def profile(request: MemberRequest) -> HttpResponse:
    """Show name, address and teams; POST changes name, time zone and language."""
    user = request.user
    form = ProfileForm(request.POST if request.method == "POST" else None, user)
    if request.method == "POST" and form.is_valid():
        user.name = form.cleaned_data["name"]
        user.zone = form.cleaned_data["zone"]
        user.language = form.cleaned_data["language"]
        user.save(update_fields=["name", "zone", "language"])
        with translation.override(language_of(request)):
            messages.success(request, gettext("Profile saved."))
        return redirect("profile")
    context = {"form": form, "memberships": memberships_of(user)}
    return render(request, "profile/profile.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@member_page
def notifications(request: MemberRequest) -> HttpResponse:
    """Show which emails the user gets; POST changes it."""
    wanted = NotificationSettings.of(request.user)
    form = NotificationsForm(request.POST if request.method == "POST" else None, instance=wanted)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, gettext("Notifications saved."))
        return redirect("notifications")
    status = 422 if form.errors else 200
    return render(request, "profile/notifications.html", {"form": form}, status=status)


@require_safe
@member_page
def your_data(request: MemberRequest) -> HttpResponse:
    """Say what an export holds and what a deletion does."""
    return render(request, "profile/data.html")


@require_POST
@member_page
def export(request: MemberRequest) -> HttpResponseBase:
    """Stream the user's data as a ZIP archive."""
    require_recent_sign_in(request)
    if is_over_limit(request, "export", EXPORTS_PER_USER):
        text = gettext("You've exported your data too many times. Try again in an hour.")
        messages.error(request, text)
        return render(request, "profile/data.html", status=429)
    name = f"data-{timezone.now():%Y-%m-%d}.zip"
    return StreamingHttpResponse(
        in_threads(archive(request.user)),
        content_type="application/zip",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@member_page
def delete_account(request: MemberRequest) -> HttpResponse:
    """Say what the deletion of the account does; POST does it."""
    user = request.user
    consequences = consequences_for(user)
    accounts = CreditAccount.objects.filter(team__in=consequences.ending, posted_nanos__gt=0)
    forfeited = list(accounts.select_related("team"))
    data = request.POST if request.method == "POST" else None
    form = DeletionForm(user, has_credit=bool(forfeited), data=data)
    status = 200
    if data is not None:
        if is_over_limit(request, "deletion", DELETION_TRIES_PER_USER):
            form.add_error(None, gettext("Too many attempts. Try again in an hour."))
            status = 429
        elif consequences.blocking:
            status = 409
        elif form.is_valid():
            try:
                delete_user(user, ip_address=client_ip(request))
            except SharedTeamError:  # somebody joined or left between the check and the deletion
                return redirect("delete_account")
            logout(request)
            return render(request, "profile/deleted.html")
        else:
            status = 422
    context = {"form": form, "consequences": consequences, "forfeited": _forfeited(forfeited)}
    return render(request, "profile/delete.html", context, status=status)


def _forfeited(accounts: list[CreditAccount]) -> SafeString:
    """Return the credits that are lost, each team's with its name; empty where there are none."""
    text = gettext("<strong>{amount}</strong> of <bdi>{team}</bdi>")
    lost = (
        format_html(text, amount=dollars(account.posted_nanos), team=account.team)
        for account in accounts
    )
    return format_html_join(", ", "{}", ((each,) for each in lost))
