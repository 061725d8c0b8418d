"""The page on which a member approves a key for an app (PKCE, as OpenRouter's apps use it)."""

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import app_authorization
from accounts.client_ip import client_ip
from accounts.errors import AccountsError
from api.catalogue.snapshot import load_snapshot
from portal.access import MemberRequest, member_page_if, require_recent_sign_in
from portal.authorize.forms import ApprovalForm
from portal.authorize.queries import AppRequest, UnacceptableRequestError, app_request_of


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@member_page_if(lambda actor: actor.may_create_keys())
def authorize_app(request: MemberRequest) -> HttpResponse:
    """Show the app's host and what it asks for; POST sends a code there, or shows it.

    A malformed request is explained on the page: nothing is sent to an address that isn't trusted.
    """
    try:
        # POST too: the form is sent to the address that it was shown at.
        asked = app_request_of(request.GET)
    except UnacceptableRequestError as error:
        return render(request, "authorize/bad_request.html", {"problem": str(error)}, status=400)
    require_recent_sign_in(request)
    if request.method != "POST":
        return _app_page(request, asked, ApprovalForm(None, name=asked.name))
    if request.POST.get("decision") != "approve":
        context = {"app": asked.host, "url": asked.url_with(error="access_denied")}
        return _returning(request, context)
    form = ApprovalForm(request.POST, name=asked.name)
    if not form.is_valid():
        return _app_page(request, asked, form, status=400)
    try:
        code = app_authorization.approve(
            request.actor,
            form.cleaned_data["name"],
            source=asked.source,
            challenge=asked.challenge,
            prefix=load_snapshot().service.key_prefix,
            ends_at=form.ends_at,
            budgets=form.budgets,
            ip_address=client_ip(request),
        )
    except AccountsError as error:
        form.add_error(None, str(error))
        return _app_page(request, asked, form, status=409)
    context = {"app": asked.host, "url": asked.url_with(code=code), "code": code}
    return _returning(request, context)


def _app_page(
    request: MemberRequest, asked: AppRequest, form: ApprovalForm, status: int = 200
) -> HttpResponse:
    return render(request, "authorize/app.html", {"asked": asked, "form": form}, status=status)


def _returning(request: MemberRequest, context: dict[str, Any]) -> HttpResponse:
    """Return the page that leads back to the app, or shows the code of one without an address.

    The page's policy lets no form lead to another host, so the browser follows a header.
    """
    answer = render(request, "authorize/returning.html", {"title": _("Key approved"), **context})
    if context["url"]:
        answer["Refresh"] = f"0; url={context['url']}"
    answer["Referrer-Policy"] = "no-referrer"
    return answer
