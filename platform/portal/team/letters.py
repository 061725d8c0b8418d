"""The letter of an invitation."""

from django.conf import settings
from django.urls import reverse

from accounts.models import Invitation, Role
from portal import mail
from portal.team.forms import ROLE_MEANINGS


def send_invitation(invitation: Invitation, token: str) -> None:
    """Sends the invitation's letter, which alone has the token. Raises OSError where it can't."""
    role = Role(invitation.role)
    context = {
        "team_name": invitation.team.name,
        "inviter": invitation.invited_by,
        "role": role.label.lower(),
        "role_meaning": ROLE_MEANINGS[role],
        # Of the settings, never of the request: a forged Host header must not reach a letter.
        "url": f"{settings.BASE_URL}{reverse('invitation', args=[token])}",
        "expires_at": invitation.expires_at,
    }
    mail.send("invitation", invitation.email, context)
