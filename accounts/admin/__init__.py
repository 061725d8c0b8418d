"""Admin pages for users, teams and plans, and the logs. Each module registers its own.

API keys and notification settings are in `api/admin/keys.py`: they need the service's prefix and
billing's money fields, which this app may not import.
"""

from accounts.admin import logs, teams, users, webhooks

__all__ = ["logs", "teams", "users", "webhooks"]
