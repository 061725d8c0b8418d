"""The base class of the operator's commands."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from accounts.models import Team
from accounts.teams import find_team


class OperatorCommand(BaseCommand):
    """A command that turns expected failures into messages that say what to do."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command. Raise CommandError for a database or settings that are missing."""
        try:
            return super().execute(*args, **options)
        except (OperationalError, InterfaceError) as error:
            raise CommandError(
                f"Can't connect to the database ({str(error).strip()}). Start it with `make run`, "
                "or set DATABASE_URL."
            ) from error
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error

    def team(self, text: str) -> Team:
        """Return the team of a slug, an id or a member's email. Raise CommandError for none."""
        team = find_team(text)
        if team is None:
            raise CommandError(
                f"No team has the slug, the id or a member with the email {text!r}. "
                "Make one with `manage.py create_customer EMAIL`."
            )
        return team
