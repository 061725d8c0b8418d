"""Sign-up, and the creation and look-up of teams."""

import secrets

from allauth.account.models import EmailAddress
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _

from accounts.errors import EmailInUseError
from accounts.models import Membership, Plan, Role, Team, User

_SLUG_LENGTH = 60  # of the 80 that the column holds: room for a suffix
_SLUG_ATTEMPTS = 5


def sign_up(
    email: str, password: str | None, name: str = "", *, is_verified: bool = False
) -> tuple[User, Team]:
    """Create a user and the personal team that they own, all or nothing.

    `is_verified` vouches for the address, so that signing in asks for no code first.

    `password=None` creates a user who can't sign in with a password. The password is not validated
    here: a form does that where it can still say why. The team's credit account is billing's.

    Raise EmailInUseError.
    """
    with transaction.atomic():
        try:
            # A savepoint, so that a caller's transaction survives the error.
            with transaction.atomic():
                user = User.objects.create_user(email, password, name=name)
        except IntegrityError:
            text = _("{email} is already in use. Sign in with it, or use another address.")
            raise EmailInUseError(text.format(email=email)) from None
        EmailAddress.objects.create(user=user, email=user.email, verified=is_verified, primary=True)
        team = ensure_personal_team(user)
    return user, team


def ensure_personal_team(user: User) -> Team:
    """Return the user's personal team, creating it if there is none."""
    return personal_team(user) or create_team(
        user.name or user.email.partition("@")[0], owner=user, is_personal=True
    )


def create_team(name: str, *, owner: User, is_personal: bool = False) -> Team:
    """Create a team on the default plan, with a unique slug and its owner's membership."""
    with transaction.atomic():
        team = _insert_team(name, is_personal=is_personal)
        Membership.objects.create(user=owner, team=team, role=Role.OWNER)
    return team


def personal_team(user: User) -> Team | None:
    """Return the personal team that the user owns, or None."""
    return Team.objects.filter(
        is_personal=True, memberships__user=user, memberships__role=Role.OWNER
    ).first()


def find_team(text: str) -> Team | None:
    """Return the team of a slug, an id or a member's email address, or None.

    For an address it is the personal team, else the one joined first.
    """
    teams = Team.objects.select_related("plan")
    if "@" in text:
        memberships = Membership.objects.filter(user__email=text.strip().lower())
        membership = (
            memberships.select_related("team__plan").order_by("-team__is_personal", "id").first()
        )
        return membership.team if membership else None
    # No slug is a number alone (see _slug_from), so the two can't be mistaken for one another.
    return teams.filter(pk=int(text)).first() if _is_id(text) else teams.filter(slug=text).first()


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18  # of a bigint


def _insert_team(name: str, *, is_personal: bool) -> Team:
    plan = Plan.objects.filter(is_default=True).first()
    if plan is None:
        raise ImproperlyConfigured("No plan is the default: mark one in the admin, under Plans.")
    base = slug = _slug_from(name)
    for _attempt in range(_SLUG_ATTEMPTS):
        if not Team.objects.filter(slug=slug).exists():
            try:
                with transaction.atomic():
                    return Team.objects.create(
                        name=name[:120], slug=slug, is_personal=is_personal, plan=plan
                    )
            except IntegrityError:
                pass  # The slug was taken between the query and the insert.
        slug = f"{base}-{secrets.token_hex(3)}"
    raise RuntimeError(f"No free slug for a team called {name!r} in {_SLUG_ATTEMPTS} attempts.")


def _slug_from(name: str) -> str:
    slug = slugify(name)[:_SLUG_LENGTH].strip("-_")
    return slug if slug and not slug.isdigit() else f"team-{slug or secrets.token_hex(3)}"
