"""The forms of API keys.

The management API's rules decide what a key may have, and word the errors. The form of a new key
carries a token, so that it creates one key even if the browser sends it twice.
"""

import secrets
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from django import forms
from django.contrib.sessions.exceptions import SessionInterrupted
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts.access import Actor
from accounts.models import ApiKey
from api.catalogue.snapshot import ModelEntry
from api.manage.serializers import (
    LONGEST_NAME,
    NAME_MESSAGES,
    KeyRulesSerializer,
    NewKeySerializer,
)
from billing.pricing.money import dollars_short_text

_NEVER, _KEEP, _ON_A_DAY = "never", "keep", "day"
_PRESETS = [("7", "In 7 days"), ("30", "In 30 days"), ("90", "In 90 days")]
_LIMITS = ("requests_per_minute", "tokens_per_minute")
_BUDGETS = ("budget_day", "budget_month", "budget_total")
_HOUR_SECONDS = 3600


class KeyForm(forms.Form):
    """A key's rules. Once it is valid, `rules` are those that were given, as the database has them.

    `key` is the key to be changed, or None for one to be made.
    """

    # Numbers are texts to the browser: a number's input would send a mistake as nothing.
    name = forms.CharField(
        help_text="What uses it, so that you know it again.",
        error_messages={"required": NAME_MESSAGES["blank"]},
    )
    expiry = forms.ChoiceField(label="Expires")
    expires_on = forms.DateField(
        label="Last day",
        error_messages={"required": "Choose the key's last day."},
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text="The key works until this day is over in UTC.",
    )
    allowed_models = forms.MultipleChoiceField(
        label="Models",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="Leave empty to allow all models, including future ones.",
    )
    requests_per_minute = forms.CharField(label="Requests per minute", required=False)
    tokens_per_minute = forms.CharField(label="Tokens per minute", required=False)
    budget_day = forms.CharField(label="Per day", required=False)
    budget_month = forms.CharField(label="Per month", required=False)
    budget_total = forms.CharField(label="Total", required=False)

    def __init__(
        self,
        data: Any,
        *,
        actor: Actor,
        models: Iterable[ModelEntry],
        key: ApiKey | None = None,
    ) -> None:
        super().__init__(data, initial=_initial(key))
        self.key = key
        self.rules: dict[str, Any] = {}
        self._team = actor.team
        plan = actor.team.plan
        self._choices("expiry", _expiries(key))
        self._choices("allowed_models", _model_choices(models, key))
        self.fields["name"].widget.attrs["maxlength"] = LONGEST_NAME
        if self.is_bound and data.get("expiry") != _ON_A_DAY:
            self.fields["expires_on"].required = False
        for name in _LIMITS:
            most = getattr(plan, name)
            self.fields[name].widget.attrs.update(inputmode="numeric", placeholder=str(most))
            self.fields[name].help_text = f"At most {most:,}, which is the plan's."
        for name in _BUDGETS:
            self.fields[name].widget.attrs.update(inputmode="decimal", placeholder="No budget")

    def clean(self) -> dict[str, Any]:
        """Ask the management API's rules about what was given or changed."""
        cleaned = super().clean() or {}
        if cleaned.get("expires_on") == date.max:
            self.add_error("expires_on", "Choose an earlier day, or that it never expires.")
        asked = self._asked(cleaned)
        rules = self._rules_of(asked)
        if not rules.is_valid():
            for name, problems in rules.errors.items():
                self.add_error(self._field_of(name), _texts(problems))
        elif not self.errors:
            self.rules = dict(rules.validated_data)
        return cleaned

    def _rules_of(self, asked: dict[str, Any]) -> KeyRulesSerializer:
        """Return the serializer that knows the rules of what is asked."""
        # Partial, so that what this form refuses already isn't missed a second time.
        return KeyRulesSerializer(data=asked, partial=True, context={"team": self._team})

    def _asked(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """Return the body of the management API's request that says the same as the form.

        Of a key that is changed only what was changed: a limit above the plan's, which staff gave,
        stays where it is left alone.
        """
        asked: dict[str, Any] = {
            name: cleaned[name] for name in ("name", "allowed_models") if name in cleaned
        }
        asked |= {name: cleaned[name] or None for name in (*_LIMITS, *_BUDGETS) if name in cleaned}
        if self.key is not None:
            changed = set(self.changed_data)
            asked = {name: value for name, value in asked.items() if name in changed}
        expiry = cleaned.get("expiry")
        if expiry == _ON_A_DAY and "expires_on" in cleaned:
            asked["expires_at"] = _end_of(cleaned["expires_on"]).isoformat()
        elif expiry == _NEVER:
            asked["expires_at"] = None
        elif expiry and expiry.isdigit():
            asked["expires_at"] = (timezone.now() + timedelta(days=int(expiry))).isoformat()
        return asked

    def _field_of(self, name: str) -> str | None:
        """Return which field a rule's error stands beside."""
        if name == "expires_at":
            return "expires_on"
        return name if name in self.fields else None

    def _choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        cast(forms.ChoiceField, self.fields[name]).choices = choices


class NewKeyForm(KeyForm):
    """The rules of a key to be made, and its scope where the member has a choice."""

    scope = forms.ChoiceField(
        label="Type",
        choices=[
            (ApiKey.Scope.INFERENCE, "Inference"),
            (ApiKey.Scope.MANAGEMENT, "The management of this team's keys"),
        ],
        help_text="A management key makes and revokes keys and calls no model.",
    )

    def __init__(self, data: Any, *, actor: Actor, models: Iterable[ModelEntry]) -> None:
        super().__init__(data, actor=actor, models=models)
        self.may_choose_scope = actor.may_create_keys(ApiKey.Scope.MANAGEMENT)
        self.fields["scope"].required = self.may_choose_scope

    def _rules_of(self, asked: dict[str, Any]) -> KeyRulesSerializer:
        return NewKeySerializer(data=asked, partial=True, context={"team": self._team})

    def _asked(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        return {**super()._asked(cleaned), "scope": cleaned.get("scope") or ApiKey.Scope.INFERENCE}


class RotationForm(forms.Form):
    """The time for which the old key stays valid beside the new one."""

    grace_seconds = forms.TypedChoiceField(
        label="The old key works on for",
        coerce=int,
        choices=[
            (0, "No longer: it ends now"),
            (_HOUR_SECONDS, "1 hour"),
            (24 * _HOUR_SECONDS, "24 hours"),
            (7 * 24 * _HOUR_SECONDS, "7 days"),
        ],
        initial=24 * _HOUR_SECONDS,
        widget=forms.RadioSelect,
    )


def _initial(key: ApiKey | None) -> dict[str, Any]:
    """Return what the form shows at first: the key's rules."""
    if key is None:
        return {"expiry": _NEVER, "scope": ApiKey.Scope.INFERENCE}
    limits = {name: getattr(key, name) for name in _LIMITS}
    budgets = {name: getattr(key, f"{name}_nanos") for name in _BUDGETS}
    texts = {name: str(limit) for name, limit in limits.items() if limit is not None}
    texts |= {
        name: dollars_short_text(nanos) for name, nanos in budgets.items() if nanos is not None
    }
    return {
        "name": key.name,
        "expiry": _KEEP if key.expires_at else _NEVER,
        "allowed_models": key.allowed_models,
        **texts,
    }


def _expiries(key: ApiKey | None) -> list[tuple[str, str]]:
    """Return when a key may end, the present end of one that has it first."""
    kept = []
    if key is not None and key.expires_at is not None:
        kept = [(_KEEP, f"As it is: {key.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")]
    return [*kept, (_NEVER, "Never"), *_PRESETS, (_ON_A_DAY, "On a day of your choice")]


def _model_choices(models: Iterable[ModelEntry], key: ApiKey | None) -> list[tuple[str, str]]:
    """Return the catalogue's models, and those that the key allows though they are not there."""
    names = [model.name for model in models]
    others = [name for name in key.allowed_models if name not in names] if key else []
    return [(name, name) for name in (*names, *others)]


def _end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def _texts(problems: Any) -> list[str]:
    """Return the texts in a serializer's errors, which nest for lists."""
    if isinstance(problems, dict):
        return [text for each in problems.values() for text in _texts(each)]
    return [str(problem) for problem in problems]


_SESSION_KEY = "keys_made"
_KEPT = 20
_LONGEST_TOKEN = 64


class MadeBeforeError(Exception):
    """The form has made its key before. `key_id` is which."""

    def __init__(self, key_id: int) -> None:
        super().__init__(f"Key {key_id} was made of this form before.")
        self.key_id = key_id


def new_token() -> str:
    """Return a token for a form that is shown."""
    return secrets.token_urlsafe(16)


def make_once(
    request: HttpRequest, token: str, make: Callable[[], tuple[ApiKey, str]]
) -> tuple[ApiKey, str]:
    """Return the key and plaintext that `make` makes, in one transaction with the token's use.

    Raise MadeBeforeError where the token was used, and SessionInterrupted where the session has
    ended meanwhile.
    """
    with transaction.atomic():
        # The lock makes a second request of the same form wait, and see what the first has done.
        row = Session.objects.select_for_update().filter(pk=request.session.session_key).first()
        if row is None:
            raise SessionInterrupted("The session has ended. Sign in again.")
        made: dict[str, int] = row.get_decoded().get(_SESSION_KEY, {})
        if token in made:
            raise MadeBeforeError(made[token])
        key, plaintext = make()
        kept = [*made.items(), (token[:_LONGEST_TOKEN], key.pk)][-_KEPT:]
        request.session[_SESSION_KEY] = dict(kept)
        request.session.save()
        request.session.modified = False  # it is saved; a second time would be after the lock
    return key, plaintext
