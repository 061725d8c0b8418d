"""The design system on one page, for who builds pages."""

from django import forms
from django.contrib import messages
from django.contrib.admin.views.decorators import staff_member_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe


class SampleForm(forms.Form):
    """One field of each kind, two of them with something wrong."""

    name = forms.CharField(help_text="What people will see.")
    amount = forms.DecimalField(required=False)
    kind = forms.ChoiceField(choices=[("chat", "Chat"), ("image", "Image")])
    note = forms.CharField(widget=forms.Textarea, required=False)
    agrees = forms.BooleanField(label="Send me a receipt by email")


@require_safe
@staff_member_required
def design(request: HttpRequest) -> HttpResponse:
    """Show every component in the states it has."""
    messages.success(request, "A message of success.")
    messages.warning(request, "A warning.")
    messages.error(request, "An error, with what to do about it.")
    context = {
        "form": SampleForm({"name": "", "amount": "a lot", "kind": "chat"}),
        "colours": [
            "paper", "surface", "sunken", "ink", "quiet", "line", "line-strong",
            "accent", "accent-soft", "good", "warn", "bad",
            "series-1", "series-2", "series-3", "series-4", "series-5", "series-6",
        ],
        "snippet": 'from openai import OpenAI\n\nclient = OpenAI(base_url="https://…/v1")',
    }  # fmt: skip
    return render(request, "design/design.html", context)
