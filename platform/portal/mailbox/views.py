"""`/dev/mail`: the emails that would have been sent, in development only."""

from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from portal.mailbox import queries

# An email's HTML shows itself and does nothing: no script, no form, nothing loaded.
EMAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"
)


@require_safe
@never_cache
def mailbox(request: HttpRequest) -> HttpResponse:
    """List the emails, newest first."""
    return render(request, "mailbox/mailbox.html", {"emails": queries.emails(_folder())})


@require_safe
@never_cache
def email(request: HttpRequest, email_id: str) -> HttpResponse:
    """Show one email: as HTML in a frame, and as text."""
    return render(request, "mailbox/email.html", {"email": _email(email_id)})


@require_safe
@never_cache
@xframe_options_sameorigin
def email_html(_request: HttpRequest, email_id: str) -> HttpResponse:
    """Answer an email's HTML alone, for the frame."""
    answer = HttpResponse(_email(email_id).html)
    answer["Content-Security-Policy"] = EMAIL_POLICY
    return answer


def _folder() -> Path:
    if not settings.SHOWS_MAILBOX:
        raise Http404
    return Path(settings.MAIL_DIR)


def _email(email_id: str) -> queries.Email:
    found = queries.find_email(_folder(), email_id)
    if found is None:
        raise Http404
    return found
