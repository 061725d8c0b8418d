"""Admin pages for alert targets, and for the deliveries to them."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminPasswordWidget

from api import alert_targets
from api.models import AlertDelivery, AlertTarget
from billing.admin.fields import ReadOnlyAdmin
from billing.ledger.alerts import raise_alert
from billing.models import LedgerAlert

Channel = AlertTarget.Channel


class AlertTargetForm(forms.ModelForm):  # type: ignore[type-arg]  # no generic at run time
    """The form of an alert target. A secret can be entered but is never shown."""

    new_secret = forms.CharField(
        label="New secret",
        required=False,
        max_length=2_000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Slack: the URL of the incoming webhook. Signed webhook: whsec_ and 24 to 64 "
        "random bytes in base64. Stored encrypted, never shown again. "
        "Leave empty to keep the current one.",
    )

    class Meta:
        model = AlertTarget
        fields = ("name", "channel", "address", "least_severity", "is_enabled")

    def clean(self) -> Any:
        """Check address and secret. A new address needs a new secret. Raise ValidationError."""
        cleaned = super().clean()
        channel = self.cleaned_data.get("channel", "")
        address = self.cleaned_data.get("address", "")
        secret = self.cleaned_data.get("new_secret", "")
        if channel == Channel.SLACK:
            # The stored address is the origin of the webhook's URL, and the form sends it back.
            address = self.cleaned_data["address"] = ""
        self._check("address", lambda: alert_targets.check_address(channel, address))
        if secret:
            self._check("new_secret", lambda: alert_targets.check_secret(channel, secret))
        elif channel != Channel.EMAIL:
            is_same = not {"channel", "address"} & set(self.changed_data)
            if channel == Channel.SLACK:
                is_same = "channel" not in self.changed_data
                self.cleaned_data["address"] = self.instance.address if is_same else ""
            if not (self.instance.encrypted_secret and is_same):
                self.add_error("new_secret", "Enter the secret for this address.")
        return cleaned

    def _check(self, field: str, check: Any) -> None:
        try:
            check()
        except ValidationError as error:
            self.add_error(field, error)


@admin.register(AlertTarget)
class AlertTargetAdmin(ModelAdmin):
    """Targets that alerts are sent to."""

    form = AlertTargetForm
    list_display = (
        *("name", "channel", "address", "least_severity", "is_enabled", "state"),
        "last_sent_at",
    )
    list_filter = ("channel", "is_enabled", ("failing_since", admin.EmptyFieldListFilter))
    search_fields = ("name", "address")
    readonly_fields = ("secret", "state", "last_sent_at")
    fieldsets = (
        (None, {"fields": ("name", "channel", "address", "least_severity", "is_enabled")}),
        ("Secret", {"fields": ("secret", "new_secret")}),
        ("State", {"fields": ("state", "last_sent_at")}),
    )
    actions = ("send_test_alert",)

    @admin.display(description="Secret")
    def secret(self, target: AlertTarget) -> str:
        """Return when the secret was stored, or `none`."""
        if not target.encrypted_secret or target.secret_set_at is None:
            return "none"
        return f"stored {target.secret_set_at:%Y-%m-%d}"

    @admin.display(description="State")
    def state(self, target: AlertTarget) -> str:
        """Return whether alerts reach the target, and why not."""
        if target.failing_since is not None:
            return f"Failing since {target.failing_since:%Y-%m-%d %H:%M} UTC: {target.last_error}"
        return "Working" if target.last_sent_at is not None else "Nothing sent yet"

    @admin.action(description="Send a test alert", permissions=["change"])
    def send_test_alert(self, request: HttpRequest, targets: QuerySet[AlertTarget]) -> None:
        """Have the worker send a test alert to these targets only."""
        now = timezone.now()
        for target in targets:
            with transaction.atomic():
                reference = f"{target.pk} {now:%Y-%m-%d %H:%M:%S.%f}"
                raise_alert("test", reference, "This is a test. Nothing has happened.")
                alert = LedgerAlert.objects.get(kind="test", reference=reference)
                alert.handled_at = now
                alert.save(update_fields=["handled_at"])
                AlertDelivery.objects.create(alert=alert, target=target)
                self.log_change(request, target, "Sent a test alert.")
        messages.info(request, "Test alerts are sent within seconds. See State and the deliveries.")

    @method_decorator(sensitive_post_parameters("new_secret"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> Any:
        """Show or save the form; error reports leave out the secret."""
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save the row with the entered secret, and retry its waiting deliveries at once."""
        if secret := form.cleaned_data["new_secret"]:
            alert_targets.store_secret(obj, secret)
            obj.secret_set_at = timezone.now()
        elif obj.channel == Channel.EMAIL:
            obj.encrypted_secret, obj.secret_set_at = "", None
        super().save_model(request, obj, form, change)
        waiting = obj.deliveries.filter(state=AlertDelivery.State.WAITING)
        waiting.update(next_attempt_at=timezone.now())


@admin.register(AlertDelivery)
class AlertDeliveryAdmin(ReadOnlyAdmin):
    """Deliveries of alerts to their targets."""

    list_display = (
        *("created_at", "alert", "target", "state", "attempts", "error"),
        *("next_attempt_at", "ended_at"),
    )
    list_filter = ("state", "target", "created_at")
    list_select_related = ("alert", "target")
    search_fields = ("=alert__reference", "target__name")
    ordering = ("-created_at",)
