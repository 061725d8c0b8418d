"""The brand's pages: each member of staff edits a draft of their own, looks at it, publishes it."""

from typing import cast

from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from api.service import current_service
from portal.brand.current import preview_of
from portal.brand.files import file_response
from portal.brand.publishing import (
    StaleDraftError,
    changes_of,
    draft_of,
    new_draft,
    publish,
    reset_draft,
)
from portal.console.access import StaffRequest, staff_page
from portal.console.brand import previews
from portal.console.brand.forms import DraftForm, EmailForm
from portal.emails.texts import EMAILS
from portal.models import BrandDraft

_PERMISSION = "portal.change_brand"


@require_http_methods(["GET", "HEAD", "POST"])
@staff_page(_PERMISSION)
def edit(request: StaffRequest) -> HttpResponse:
    """Show the draft's form, or save the draft."""
    draft = draft_of(request.user)
    shown = draft or new_draft(request.user)
    form = DraftForm(request.POST or None, request.FILES or None, instance=shown)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Draft saved. Only you can see it until you publish it.")
        return redirect("console:brand")
    saved = draft_of(request.user) if form.errors else draft
    context = {
        "title": "Brand",
        "form": form,
        "draft": saved,
        "changes": changes_of(saved) if saved else [],
        "brand": preview_of(saved or new_draft(request.user), current_service()).brand,
        "emails": [(name, each.title, name in shown.email_texts) for name, each in EMAILS.items()],
    }
    return _page(request, "console/brand/edit.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@staff_page(_PERMISSION)
def email(request: StaffRequest, name: str) -> HttpResponse:
    """Show one email's words, or save them in the draft."""
    if name not in EMAILS:
        raise Http404
    draft = draft_of(request.user) or new_draft(request.user)
    form = EmailForm(name, request.POST or None, initial=draft.email_texts.get(name))
    if form.is_valid():
        texts = {key: text for key, text in draft.email_texts.items() if key != name}
        written = {key: text for key, text in form.cleaned_data.items() if text}
        draft.email_texts = {**texts, name: written} if written else texts
        draft.save()
        messages.success(request, "Draft saved. Only you can see it until you publish it.")
        return redirect("console:brand_email", name)
    context: dict[str, object] = {
        "title": f"Email: {EMAILS[name].title}",
        "form": form,
        "placeholders": sorted(EMAILS[name].placeholders),
        "required": EMAILS[name].required,
        "preview_url": reverse("console:brand_preview_page", args=[f"email-{name}"]),
    }
    return _page(request, "console/brand/email.html", context)


@require_safe
@staff_page(_PERMISSION)
def preview(request: StaffRequest) -> HttpResponse:
    """Show a page of the draft, as wide as a computer's and as a phone's."""
    draft = draft_of(request.user) or new_draft(request.user)
    choices = previews.choices(preview_of(draft, current_service()).brand)
    page = request.GET.get("page", "home")
    theme = request.GET.get("theme", "light")
    if page not in dict(choices) or theme not in previews.THEMES:
        raise Http404
    context: dict[str, object] = {
        "title": "Preview of the brand",
        "choices": choices,
        "page": page,
        "theme": theme,
        "themes": previews.THEMES,
        "frame_url": f"{reverse('console:brand_preview_page', args=[page])}?theme={theme}",
    }
    return _page(request, "console/brand/preview.html", context)


@require_safe
@xframe_options_sameorigin
@staff_page(_PERMISSION)
def preview_page(request: StaffRequest, page: str) -> HttpResponse:
    """Answer a page or an email with the draft, for the frame."""
    draft = draft_of(request.user) or new_draft(request.user)
    theme = request.GET.get("theme", "")
    theme = theme if theme in previews.THEMES else ""
    _set_preview(request, draft, theme)
    return previews.show(request, page)


@require_safe
@staff_page(_PERMISSION)
def draft_file(request: StaffRequest, digest: str, kind: str) -> HttpResponse:
    """Answer the logo or the colors of the author's own draft."""
    draft = draft_of(request.user) or new_draft(request.user)
    brand = preview_of(draft, current_service()).brand
    if brand.digest != digest:
        raise Http404
    return file_response(brand, kind)


@require_POST
@staff_page(_PERMISSION)
def change(request: StaffRequest, action: str) -> HttpResponse:
    """Publish the draft, discard it, or reset it to the defaults."""
    draft = draft_of(request.user)
    if action == "reset":
        reset_draft(draft or new_draft(request.user))
        messages.success(request, "The draft has the defaults. Publish it to reset the pages.")
    elif draft is None:
        messages.error(request, "There is no draft.")
    elif action == "discard":
        draft.delete()
        messages.success(request, "Draft discarded.")
    else:
        _publish(request, draft)
    return redirect("console:brand")


def _publish(request: StaffRequest, draft: BrandDraft) -> None:
    try:
        changes = publish(draft)
    except StaleDraftError:
        messages.error(
            request,
            "Someone else published a brand since you began. Check the changes below, which are"
            " now compared with theirs, and publish again.",
        )
    else:
        messages.success(request, f"Published: {len(changes)} changes.")


def _set_preview(request: HttpRequest, draft: BrandDraft, theme: str) -> None:
    request.brand_preview = preview_of(draft, current_service(), theme)  # type: ignore[attr-defined]


def _page(request: StaffRequest, template: str, context: dict[str, object]) -> HttpResponse:
    shell = cast(dict[str, object], admin.site.each_context(request))
    return TemplateResponse(request, template, {**shell, **context})
