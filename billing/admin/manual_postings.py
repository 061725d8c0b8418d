"""Admin page of manual postings, including those that wait for a second person."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts.models import User
from accounts.staff_rules import may_act_on
from billing.admin.fields import ReadOnlyAdmin, dollars
from billing.admin.refunds import link, transfers_link
from billing.models import ManualPosting
from billing.payments import manual_postings


class DecisionForm(forms.Form):
    """The form that rejects a posting."""

    reason = forms.CharField(
        max_length=300,
        widget=UnfoldAdminTextInputWidget,
        help_text="Stored in the team's audit log and the staff log.",
    )


@admin.register(ManualPosting)
class ManualPostingAdmin(ReadOnlyAdmin):
    """Grants, adjustments, goodwill and large refunds: who requested them, why, who confirmed."""

    list_display = (
        "created_at",
        "kind",
        "team",
        dollars("amount_nanos"),
        "state",
        "requested_by",
        "reason",
        "decided_by",
    )
    list_filter = ("state", "kind", "created_at")
    list_select_related = ("team", "requested_by", "decided_by")
    search_fields = ("=id", "team__name", "team__slug", "requested_by__email", "reason")
    ordering = ("-created_at",)
    fields: ClassVar[Any] = (
        "kind",
        "team",
        dollars("amount_nanos"),
        "reason",
        "state",
        "requested_by",
        "created_at",
        "decided_by",
        "decided_at",
        "expires_at",
        "order",
        "is_forced",
        "ledger",
    )
    readonly_fields: ClassVar[Any] = fields
    actions_detail: Any = ("approve", "reject")

    @admin.display(description="Ledger")
    def ledger(self, posting: ManualPosting) -> str:
        """Return a link to the posting's transfer, or to its refund."""
        if posting.kind == ManualPosting.Kind.REFUND:
            url = reverse("admin:billing_refund_changelist")
            return link(f"{url}?q={posting.pk}", "Refund")
        return transfers_link(f"manual:{posting.pk}")

    def has_approve_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return whether the user may confirm what others requested."""
        return request.user.has_perm("billing.approve_manualposting")

    @action(  # type: ignore[operator]  # unfold's annotations
        description="Confirm…", url_path="approve", permissions=["approve"]
    )
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show what would be posted, or post it."""
        posting = self._posting(request, object_id)
        form = forms.Form(request.POST if request.method == "POST" else None)
        if form.is_valid() and isinstance(request.user, User):
            try:
                manual_postings.approve(posting, request.user)
            except manual_postings.ManualPostingError as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, "The posting has been made.")
                return redirect("admin:billing_manualposting_change", posting.pk)
        return self._page(request, posting, form, "Confirm")

    @action(  # type: ignore[operator]  # unfold's annotations
        description="Reject…", url_path="reject", permissions=["approve"]
    )
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the form, or reject the posting with the submitted reason."""
        posting = self._posting(request, object_id)
        form = DecisionForm(request.POST or None)
        if form.is_valid() and isinstance(request.user, User):
            try:
                manual_postings.reject(posting, request.user, form.cleaned_data["reason"])
            except manual_postings.ManualPostingError as error:
                form.add_error(None, str(error))
            else:
                messages.success(request, "The posting has been rejected. No money was moved.")
                return redirect("admin:billing_manualposting_change", posting.pk)
        return self._page(request, posting, form, "Reject")

    def _posting(self, request: HttpRequest, object_id: str) -> ManualPosting:
        """Return the posting. Raise Http404, and PermissionDenied for the user's own team."""
        posting: ManualPosting = get_object_or_404(self.get_queryset(request), pk=object_id)
        if not may_act_on(request, posting.team):
            raise PermissionDenied
        return posting

    def _page(
        self, request: HttpRequest, posting: ManualPosting, form: forms.Form, label: str
    ) -> HttpResponse:
        facts = [
            ("Team", str(posting.team)),
            ("Amount", dollars("amount_nanos")(posting)),
            ("Reason", posting.reason),
            ("Requested by", str(posting.requested_by or "a deleted user")),
            ("State", posting.get_state_display()),
        ]
        context = {
            **self.admin_site.each_context(request),
            "title": f"{label}: {posting.get_kind_display().lower()}",
            "opts": self.model._meta,
            "original": posting,
            "facts": facts,
            "form": form,
            "action_label": label,
            "back_url": reverse("admin:billing_manualposting_change", args=[posting.pk]),
        }
        return TemplateResponse(request, "admin/billing/action_form.html", context)
