"""Helpers for the cast of `conftest.py`: keys for them, browsers for them, a look at all text."""

import time
from typing import Any, NamedTuple

from allauth.account.internal.flows.login import (
    _AUTHENTICATION_METHODS_USER_SESSION_KEY,
    AUTHENTICATION_METHODS_SESSION_KEY,
)
from allauth.account.models import EmailAddress
from django.apps import apps
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection, transaction
from django.test import Client
from django.utils.text import slugify

from accounts import api_keys
from accounts.models import ApiKey, Membership, Plan, Role, Team, User

PREFIX = "sk-tg-"


class IssuedKey(NamedTuple):
    """A key and its plaintext, as on the day it was made."""

    key: ApiKey
    plaintext: str


def member(email: str, password: str | None, name: str) -> tuple[User, Team]:
    """Create a user and their personal team as `accounts.teams.sign_up` does, in five queries
    instead of sixteen.

    The name must be unique among the test's teams, since the slug is derived from it.
    """
    with transaction.atomic(savepoint=False):
        user = User(email=email, name=name, password=make_password(password))
        user.save(force_insert=True)
        EmailAddress.objects.bulk_create([EmailAddress(user=user, email=email, primary=True)])
        plan = Plan.objects.get(is_default=True)
        team = Team(name=name, slug=slugify(name), is_personal=True, plan=plan)
        team.save(force_insert=True)
        Membership(user=user, team=team, role=Role.OWNER).save(force_insert=True)
    return user, team


def issue(team: Team, maker: User | None, name: str = "key", **rules: Any) -> IssuedKey:
    """Make a key; `rules` are `create_key`'s."""
    return IssuedKey(*api_keys.create_key(team, maker, name, prefix=PREFIX, **rules))


def signed_in(user: User, *, enforce_csrf_checks: bool = False) -> Client:
    """Return a browser in which the user is signed in.

    Its session is written in one go: `force_login` asks the database sixteen times.
    """
    client = Client(enforce_csrf_checks=enforce_csrf_checks)
    content = {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0],
        HASH_SESSION_KEY: user.get_session_auth_hash(),
        **sign_in_records(user),
    }
    session = SessionStore().create_model_instance(content)
    session.save(force_insert=True)
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    return client


def sign_in_records(user: User, seconds_ago: float = 0) -> dict[str, Any]:
    """Return what a session keeps of a password that the user gave so long ago."""
    return {
        AUTHENTICATION_METHODS_SESSION_KEY: [
            {"method": "password", "at": time.time() - seconds_ago}
        ],
        _AUTHENTICATION_METHODS_USER_SESSION_KEY: str(user.pk),
    }


def note_sign_in(client: Client, user: User, seconds_ago: float = 0) -> None:
    """Have the browser's session say that the user gave their password, so long ago."""
    session = client.session
    session.update(sign_in_records(user, seconds_ago))
    session.save()


def everything_in_the_database() -> str:
    """Return every row of every table of ours and Django's as text, to search for secrets."""
    tables = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    rows: list[str] = []
    with connection.cursor() as cursor:
        for table in sorted(tables):
            cursor.execute(f'SELECT t::text FROM "{table}" t')
            rows += [row for (row,) in cursor.fetchall()]
    return "\n".join(rows)
