"""Create a customer: `manage.py create_customer EMAIL --credit DOLLARS [--json]`."""

import json
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.core.validators import validate_email

from accounts.commands import OperatorCommand
from accounts.models import User
from api.account_opening import open_customer
from api.management.arguments import dollars
from billing.usage.balances import balance_of


class Command(OperatorCommand):
    """The command."""

    help = (
        "Create a user, their team and credit account if missing, grant the credit and create an "
        "API key, which is shown this once. Every call grants credit and creates a key."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("email", metavar="EMAIL")
        parser.add_argument(
            "--credit", metavar="DOLLARS", type=dollars, default=0, help="granted credit"
        )
        parser.add_argument("--password", help="a new user's; generated if omitted")
        parser.add_argument("--name", default="", help="a new user's name")
        parser.add_argument("--key-name", default="First key")
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the customer and print the result."""
        email, password = options["email"], options["password"]
        try:
            validate_email(email)
            if password is not None:
                validate_password(password, User(email=email, name=options["name"]))
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        if password is not None and User.objects.filter(email=email.lower()).exists():
            raise CommandError(
                f"{email} is a user already, whose password this command doesn't change. "
                f"Leave out --password, or use `manage.py changepassword {email}`."
            )
        customer = open_customer(
            email,
            password=password,
            name=options["name"],
            key_name=options["key_name"],
            credit_nanos=options["credit"],
            memo="create_customer",
        )
        result: dict[str, str | int] = {
            "email": customer.user.email,
            "user_id": customer.user.pk,
            "team": customer.team.slug,
            "team_id": customer.team.pk,
            "account_id": customer.account.pk,
            "api_key": customer.plaintext,
            "balance": str(balance_of(customer.team).as_json()["posted"]),
        }
        if customer.password is not None:
            result["password"] = customer.password
        if options["json"]:
            self.stdout.write(json.dumps(result))
            return
        for name, value in result.items():
            self.stdout.write(f"{name.replace('_', ' '):<11} {value}")
        self.stdout.write("Keep the API key now: it is shown this once.")
