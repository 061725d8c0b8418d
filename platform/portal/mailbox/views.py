"""`/dev/mail`: the letters that would have been sent, there only where `MAIL_DIR` is set."""

from pathlib import Path

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_safe

from portal.mailbox import queries as box

# A letter's HTML shows itself and does nothing: no script, no form, nothing loaded.
LETTER_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox"
)


@require_safe
@never_cache
def mailbox(request: HttpRequest) -> HttpResponse:
    """Lists the letters, newest first."""
    return render(request, "mailbox/mailbox.html", {"letters": box.letters(_folder())})


@require_safe
@never_cache
def letter(request: HttpRequest, letter_id: str) -> HttpResponse:
    """Shows one letter: as HTML in a frame, and as text."""
    return render(request, "mailbox/letter.html", {"letter": _letter(letter_id)})


@require_safe
@never_cache
@xframe_options_sameorigin
def letter_html(_request: HttpRequest, letter_id: str) -> HttpResponse:
    """Answers a letter's HTML alone, for the frame."""
    answer = HttpResponse(_letter(letter_id).html)
    answer["Content-Security-Policy"] = LETTER_POLICY
    return answer


def _folder() -> Path:
    if not settings.MAIL_DIR:
        raise Http404
    return Path(settings.MAIL_DIR)


def _letter(letter_id: str) -> box.Letter:
    found = box.letter(_folder(), letter_id)
    if found is None:
        raise Http404
    return found
