"""The emails that pages send: changes to an account's security, and invitations."""

from django.conf import settings
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import pgettext_lazy

from accounts.models import Invitation, Role, StaffInvitation
from portal.emails import sending

# `mail/security_notice_title.txt` and `mail/security_notice_told.txt` have their texts.
SECURITY_NOTICES = frozenset(
    {
        "password_changed",
        "password_reset",
        "password_set",
        "email_changed",
        "email_confirm",
        "email_deleted",
        "totp_activated",
        "totp_deactivated",
        "recovery_codes_generated",
        "webauthn_added",
        "webauthn_removed",
        "account_connected",
        "account_disconnected",
    }
)
ROLE_NAMES = {
    Role.OWNER: pgettext_lazy("role", "owner"),
    Role.ADMIN: pgettext_lazy("role", "admin"),
    Role.DEVELOPER: pgettext_lazy("role", "developer"),
    Role.BILLING: pgettext_lazy("role", "billing"),
}


def send_invitation(invitation: Invitation, token: str, role_meaning: str | Promise) -> None:
    """Send the invitation's email, which alone has the token. Raise OSError where it can't."""
    context = {
        "team_name": invitation.team.name,
        "inviter": invitation.invited_by,
        "role": ROLE_NAMES[Role(invitation.role)],
        "role_meaning": role_meaning,
        # Of the settings, never of the request: a forged Host header must not reach an email.
        "url": f"{settings.BASE_URL}{reverse('invitation', args=[token])}",
        "expires_at": invitation.expires_at,
    }
    sending.send("invitation", invitation.email, context)


def send_staff_invitation(invitation: StaffInvitation, token: str) -> None:
    """Send the email that invites a person to the staff. Otherwise as `send_invitation`."""
    context = {
        "inviter": invitation.invited_by,
        "role": invitation.role.name,
        "url": f"{settings.BASE_URL}{reverse('console:join', args=[token])}",
        "expires_at": invitation.expires_at,
    }
    sending.send("staff_invitation", invitation.email, context)
