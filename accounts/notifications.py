"""Which e-mails a user wants."""

from accounts.models import NotificationSettings, User


def notification_settings_of(user: User) -> NotificationSettings:
    """Return the user's settings, or the defaults (unsaved) of who has chosen nothing."""
    found = NotificationSettings.objects.filter(user=user).first()
    return found or NotificationSettings(user=user)
