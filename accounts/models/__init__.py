"""Users, teams, memberships, invitations, plans and API keys; the audit log and sent emails.

Keys, credits and usage belong to a team, which users join with a role; a sign-up creates one.
"""

from accounts.models.authorizations import AppAuthorization, DeviceSignIn, RenewableKey
from accounts.models.keys import ApiKey
from accounts.models.records import AuditEntry, NotificationSettings, SentNotice
from accounts.models.staff import StaffInvitation
from accounts.models.teams import Invitation, Membership, Plan, Role, StaffNote, Team
from accounts.models.users import User, UserManager
from accounts.models.webhooks import WebhookDelivery, WebhookEndpoint, WebhookEvent

__all__ = [
    "ApiKey",
    "AppAuthorization",
    "AuditEntry",
    "DeviceSignIn",
    "Invitation",
    "Membership",
    "NotificationSettings",
    "Plan",
    "RenewableKey",
    "Role",
    "SentNotice",
    "StaffInvitation",
    "StaffNote",
    "Team",
    "User",
    "UserManager",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
]
