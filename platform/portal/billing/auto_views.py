"""The forms of auto top-up and of promotional codes."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.client_ip import client_ip
from billing.errors import StripeError
from billing.payments import auto_top_up, promotions
from billing.payments.auto_top_up import AutoTopUpSettingsError
from portal.access import MemberRequest
from portal.billing.auto_forms import AutoTopUpForm, CodeForm
from portal.billing.page import billing_page, show_page
from portal.sign_in.limits import seconds_to_wait, too_many
from portal.templatetags.ui import dollars


@require_POST
@billing_page
def save_auto_top_up(request: MemberRequest) -> HttpResponse:
    """Keeps the settings of auto top-up."""
    form = AutoTopUpForm(request.POST)
    status = 422
    if form.is_valid():
        try:
            row = auto_top_up.save_settings(
                request.actor, form.submitted_settings, ip_address=client_ip(request)
            )
        except AutoTopUpSettingsError as error:
            form.show(error.errors)
        except StripeError:
            form.add_error(None, "The card can't be checked right now. Try again in a minute.")
            status = 503
        else:
            messages.success(request, f"Auto top-up is {'on' if row.is_enabled else 'off'}.")
            return redirect(reverse("billing"))
    return show_page(request, status=status, auto_top_up_form=form)


@require_POST
@billing_page
def redeem_code(request: MemberRequest) -> HttpResponse:
    """Redeems a promotional code; who tries too many is asked to wait."""
    for key in ("user", "ip"):
        wait = seconds_to_wait(request, "code", settings.CODE_RATE, key)
        if wait is not None:
            return too_many(request, wait)
    form = CodeForm(request.POST)
    if form.is_valid():
        try:
            redemption = promotions.redeem_code(
                request.actor, form.cleaned_data["code"], ip_address=client_ip(request)
            )
        except promotions.CodeError as error:
            form.add_error("code", str(error))
        else:
            said = f"{dollars(redemption.code.amount_nanos)} were added to your balance."
            if days := redemption.code.credit_days:
                said += f" What is left of it expires in {days} day{'s' if days > 1 else ''}."
            messages.success(request, said)
            return redirect(reverse("billing"))
    return show_page(request, status=422, code_form=form)
