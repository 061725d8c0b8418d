"""The emails that pages send: changes to an account's security, and invitations to a team."""

from django.conf import settings
from django.urls import reverse

from accounts.models import Invitation, Role
from portal.emails import sending

SECURITY_NOTICES: dict[str, tuple[str, str]] = {
    "password_changed": ("Your password was changed", "The password of your account was changed."),
    "password_reset": ("Your password was reset", "The password of your account was reset."),
    "password_set": ("A password was set", "A password was set for your account."),
    "email_changed": (
        "Your email address was changed",
        "Your account's primary email address was changed from {from_email} to {to_email}.",
    ),
    "email_confirm": (
        "Your email address is verified",
        "Your email address was verified.",
    ),
    "email_deleted": (
        "An email address was removed",
        "The email address {deleted_email} was removed from your account.",
    ),
    "totp_activated": (
        "Two-step sign-in is on",
        "An authenticator app was added to your account. You'll need its code to sign in.",
    ),
    "totp_deactivated": (
        "The authenticator app was removed",
        "The authenticator app was removed from your account.",
    ),
    "recovery_codes_generated": (
        "New recovery codes",
        "New recovery codes were generated for your account. The old ones no longer work.",
    ),
    "webauthn_added": ("A passkey was added", "A passkey was added to your account."),
    "webauthn_removed": ("A passkey was removed", "A passkey was removed from your account."),
    "account_connected": (
        "An account was connected",
        "A third-party account can now sign in to your account.",
    ),
    "account_disconnected": (
        "An account was disconnected",
        "A third-party account can no longer sign in to your account.",
    ),
}


def send_invitation(invitation: Invitation, token: str, role_meaning: str) -> None:
    """Send the invitation's email, which alone has the token. Raise OSError where it can't."""
    role = Role(invitation.role)
    context = {
        "team_name": invitation.team.name,
        "inviter": invitation.invited_by,
        "role": role.label.lower(),
        "role_meaning": role_meaning,
        # Of the settings, never of the request: a forged Host header must not reach an email.
        "url": f"{settings.BASE_URL}{reverse('invitation', args=[token])}",
        "expires_at": invitation.expires_at,
    }
    sending.send("invitation", invitation.email, context)
