"""Makes a database ready to be tried: tables, a catalogue, a customer with credits, staff."""

import json
import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import Tags
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor

from accounts import teams
from accounts.api_keys import create_key, find_active
from accounts.commands import OperatorCommand
from accounts.keys import prefix_of
from accounts.models import User
from api.account_opening import new_password, open_customer
from api.catalogue.snapshot import load_snapshot
from api.models import Upstream
from api.service import current_service
from billing.ledger import postings
from billing.pricing.money import nanos_from_dollars

CUSTOMER_EMAIL = "demo@example.com"
STAFF_EMAIL = "staff@example.com"
SIMULATOR = "simulator"  # the name of its upstream in the shipped catalogues
CREDIT_NANOS = nanos_from_dollars(25)


class Command(OperatorCommand):
    """The command."""

    help = (
        "Migrates, loads a catalogue and makes a demo customer and a staff login. The last line "
        "printed is one JSON object: api_key, customer, staff, created, service, model. A second "
        "run makes nothing; with another catalogue it makes a key with that service's prefix."
    )
    requires_system_checks = [Tags.security]

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--catalogue", metavar="NAME", required=True)
        parser.add_argument(
            "--demo-file", metavar="PATH", type=Path, help="keeps the keys and passwords made"
        )
        parser.add_argument("--json", action="store_true", help="print the JSON object alone")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare the database and print what a person needs to try it."""
        say = (lambda _line: None) if options["json"] else self.stdout.write
        catalogue = _catalogue_file(options["catalogue"])
        if _has_pending_migrations():
            call_command("migrate", interactive=False, verbosity=0)
            say("The tables are up to date.")
        if current_service().catalogue == catalogue.stem:
            _follow_simulator()  # what staff have changed since the first load stays
        else:
            call_command("load_catalogue", str(catalogue), "--replace", stdout=self.stderr)
        say(f"The catalogue {options['catalogue']} is loaded.")
        demo = _read_demo(options["demo_file"])
        if demo is None:
            demo = _make_demo(options["demo_file"])
        elif prefix_of(demo["api_key"]) != current_service().key_prefix:
            demo = _change_key(demo, options["demo_file"])
        shown = {name: demo[name] for name in ("api_key", "customer", "staff", "created")}
        self.stdout.write(json.dumps({**shown, **_brand()}))


def _catalogue_file(name: str) -> Path:
    folder = settings.BASE_DIR / "api" / "catalogues"
    names = sorted(path.stem for path in folder.glob("*.toml"))
    if name not in names:
        raise CommandError(f"There is no catalogue {name!r}. There are: {', '.join(names)}.")
    return Path(folder / f"{name}.toml")


def _has_pending_migrations() -> bool:
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _follow_simulator() -> None:
    """Point the simulator's upstream to where the simulator listens this time."""
    url = settings.READ_ENVIRONMENT("SIMULATOR_URL")
    if url:
        upstreams = Upstream.objects.filter(name=SIMULATOR)
        upstreams.exclude(base_url=f"{url}/v1").update(base_url=f"{url}/v1")


def _read_demo(demo_file: Path | None) -> dict[str, Any] | None:
    """Return what an earlier run made, if its key still opens this database's account."""
    if demo_file is None or not demo_file.exists():
        return None
    try:
        demo: dict[str, Any] = json.loads(demo_file.read_text())
        known = find_active(demo["api_key"])
    except (ValueError, KeyError, TypeError):
        return None
    return {**demo, "created": False} if known else None


def _make_demo(demo_file: Path | None) -> dict[str, Any]:
    """Make the demo's customer and staff, with new passwords for those who are there already."""
    with transaction.atomic():
        customer = open_customer(
            CUSTOMER_EMAIL,
            name="Demo",
            team_name="Demo",
            key_name="Demo key",
            credit_nanos=CREDIT_NANOS,
            reference="demo",
            memo="Demo credit",
        )
        demo = {
            "api_key": customer.plaintext,
            "customer": {"email": CUSTOMER_EMAIL, "password": _reset_password(customer.user)},
            "staff": {"email": STAFF_EMAIL, "password": _reset_password(_staff())},
            "created": True,
        }
        if demo_file is not None:
            # Inside the transaction: a file whose account is not in the database is made anew.
            _write_for_owner(demo_file, json.dumps(demo))
    return demo


def _change_key(demo: dict[str, Any], demo_file: Path) -> dict[str, Any]:
    """Return the demo with a key of the present service's prefix.

    The file keeps the other services' keys, so that switching back and forth makes one key for
    each, and a client that was set up for one of them goes on working.
    """
    prefix = current_service().key_prefix
    others = {**demo.get("other_keys", {}), prefix_of(demo["api_key"]): demo["api_key"]}
    plaintext = others.pop(prefix, None)
    is_new = plaintext is None or find_active(plaintext) is None
    with transaction.atomic():
        if is_new:
            user = User.objects.get(email=CUSTOMER_EMAIL)
            team = find_active(demo["api_key"]).team  # type: ignore[union-attr]
            _, plaintext = create_key(team, user, "Demo key", prefix=prefix)
        demo = {**demo, "api_key": plaintext, "created": is_new, "other_keys": others}
        _write_for_owner(demo_file, json.dumps(demo))
    return demo


def _brand() -> dict[str, str]:
    """Return what the service is called, and a model that its first request can name."""
    chat_models = load_snapshot().public_models(kind="chat")
    return {"service": current_service().name, "model": chat_models[0].name if chat_models else ""}


def _staff() -> User:
    """Return the staff's user, who is a customer too, so as to see what customers see."""
    user = User.objects.filter(email=STAFF_EMAIL).first()
    if user is None:
        user, _ = teams.sign_up(STAFF_EMAIL, None, "Staff", is_verified=True)
        user.is_staff = user.is_superuser = True
        user.save(update_fields=["is_staff", "is_superuser"])
    postings.open_account(teams.ensure_personal_team(user))
    return user


def _reset_password(user: User) -> str:
    password = new_password()
    user.set_password(password)
    user.save(update_fields=["password"])
    return password


def _write_for_owner(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.replace(path)
