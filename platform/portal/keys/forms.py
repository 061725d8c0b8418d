"""The forms of API keys.

`accounts.key_rules` decides what a key may have, and words the errors.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from django import forms
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import key_rules
from accounts.access import Actor
from accounts.formats import whole_text
from accounts.models import ApiKey
from accounts.zones import moment_text
from api.catalogue.snapshot import ModelEntry
from api.models import KeyGuard
from billing.pricing.money import budget_nanos, dollars_short_text

_NEVER, _KEEP, _ON_A_DAY = "never", "keep", "day"
_PRESETS = [("7", _("In 7 days")), ("30", _("In 30 days")), ("90", _("In 90 days"))]
_LIMITS = ("requests_per_minute", "tokens_per_minute")
_BUDGETS = ("budget_day", "budget_month", "budget_total")
_HOUR_SECONDS = 3600
_LONGEST_NUMBER = 1000  # int() takes time for very long ones


class KeyForm(forms.Form):
    """A key's rules. Once it is valid, `rules` are those that were given, as the database has them.

    `key` is the key to be changed, or None for one to be made.
    """

    # Numbers are texts to the browser: a number's input would send a mistake as nothing.
    name = forms.CharField(
        label=_("Name"),
        help_text=_("What you'll use the key for."),
        max_length=key_rules.LONGEST_NAME,
        error_messages={
            "required": key_rules.NAME_MISSING,
            "max_length": key_rules.NAME_TOO_LONG,
        },
    )
    expiry = forms.ChoiceField(label=_("Expires"))
    expires_on = forms.DateField(
        label=_("Expiry date"),
        error_messages={"required": _("Choose an expiry date.")},
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        help_text=_("The key works until the end of this day (UTC)."),
    )
    allowed_models = forms.MultipleChoiceField(
        label=_("Models"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Leave empty to allow all models, including future ones."),
    )
    requests_per_minute = forms.CharField(label=_("Requests per minute"), required=False)
    tokens_per_minute = forms.CharField(label=_("Tokens per minute"), required=False)
    budget_day = forms.CharField(label=_("Per day"), required=False)
    budget_month = forms.CharField(label=_("Per month"), required=False)
    budget_total = forms.CharField(label=_("Total"), required=False)

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
        self._plan = plan = actor.team.plan
        self._choices("expiry", _expiries(key))
        self._choices("allowed_models", _model_choices(models, key))
        if self.is_bound and data.get("expiry") != _ON_A_DAY:
            self.fields["expires_on"].required = False
        for name in _LIMITS:
            most = getattr(plan, name)
            self.fields[name].widget.attrs.update(inputmode="numeric", placeholder=str(most))
            help_text = gettext("At most {limit}, your plan's limit.")
            self.fields[name].help_text = help_text.format(limit=whole_text(most))
        for name in _BUDGETS:
            self.fields[name].widget.attrs.update(
                inputmode="decimal", placeholder=gettext("No budget")
            )

    def clean(self) -> dict[str, Any]:
        """Check what was given, or of a key that is changed what was changed, and set `rules`.

        A limit above the plan's, which staff gave, stays where it is left alone.
        """
        cleaned = super().clean() or {}
        if cleaned.get("expires_on") == date.max:
            self.add_error("expires_on", gettext("Choose an earlier date, or no expiry."))
        rules = self._rules_of(cleaned)
        if not self.errors:
            self.rules = rules
        return cleaned

    def _rules_of(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """Return the rules that the fields stand for; errors stand beside their fields."""
        rules: dict[str, Any] = {}
        given = [name for name in cleaned if self.key is None or name in self.changed_data]
        if "name" in given:
            rules["name"] = cleaned["name"]
        if "allowed_models" in given:
            rules["allowed_models"] = cleaned["allowed_models"]
            if len(cleaned["allowed_models"]) > key_rules.MOST_MODELS:
                text = gettext("Choose at most {limit} models, or leave empty to allow all.")
                self.add_error("allowed_models", text.format(limit=key_rules.MOST_MODELS))
        for name in _LIMITS:
            if name in given:
                with self._errors_beside(name):
                    rules[name] = self._limit(name, cleaned[name])
        for name in _BUDGETS:
            if name in given:
                with self._errors_beside(name):
                    text = cleaned[name]
                    rules[f"{name}_nanos"] = budget_nanos(text) if text else None
        if cleaned.get("expiry") != _KEEP:
            with self._errors_beside("expires_on"):
                rules["expires_at"] = _expires_at(cleaned)
        return rules

    def _limit(self, name: str, text: str) -> int | None:
        """Return a limit a minute, or None for the plan's. Raise ValueError."""
        if not text:
            return None
        limit = _whole_number(text)
        key_rules.require_limit(limit, getattr(self._plan, name))
        return limit

    @contextmanager
    def _errors_beside(self, name: str) -> Iterator[None]:
        """Show the text of a ValueError beside a field."""
        try:
            yield
        except ValueError as error:
            self.add_error(name, str(error))

    def _choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        cast(forms.ChoiceField, self.fields[name]).choices = choices


class NewKeyForm(KeyForm):
    """The rules of a key to be made, and its scope where the member has a choice."""

    scope = forms.ChoiceField(
        label=_("Type"),
        choices=[
            (ApiKey.Scope.INFERENCE, _("Inference")),
            (ApiKey.Scope.MANAGEMENT, _("Key management")),
        ],
        help_text=_("Management keys create and revoke keys. They can't call models."),
    )

    def __init__(self, data: Any, *, actor: Actor, models: Iterable[ModelEntry]) -> None:
        super().__init__(data, actor=actor, models=models)
        self.may_choose_scope = actor.may_create_keys(ApiKey.Scope.MANAGEMENT)
        self.fields["scope"].required = self.may_choose_scope

    def _rules_of(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        scope = cleaned.get("scope") or ApiKey.Scope.INFERENCE
        return {**super()._rules_of(cleaned), "scope": scope}


_GUARD_CHOICES = [
    (KeyGuard.Action.OFF, _("Do nothing")),
    (KeyGuard.Action.WARN, _("Tell us")),
    (KeyGuard.Action.FREEZE, _("Freeze the key and tell us")),
]


class GuardForm(forms.Form):
    """The reaction to unusual use of a key."""

    on_spike = forms.ChoiceField(
        label=_("It spends far more in an hour than ever before"), choices=_GUARD_CHOICES
    )
    on_new_network = forms.ChoiceField(
        label=_("It is used from a new network"), choices=_GUARD_CHOICES
    )

    def __init__(self, data: Any, guard: KeyGuard) -> None:
        initial = {"on_spike": guard.on_spike, "on_new_network": guard.on_new_network}
        super().__init__(data, initial=initial)


class RotationForm(forms.Form):
    """The time for which the old key stays valid beside the new one."""

    grace_seconds = forms.TypedChoiceField(
        label=_("Grace period for the old key"),
        coerce=int,
        choices=[
            (0, _("None: expire it now")),
            (_HOUR_SECONDS, _("1 hour")),
            (24 * _HOUR_SECONDS, _("24 hours")),
            (7 * 24 * _HOUR_SECONDS, _("7 days")),
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
        "expiry": _KEEP if key.ends_at else _NEVER,
        "allowed_models": key.allowed_models,
        **texts,
    }


def _expiries(key: ApiKey | None) -> list[tuple[str, str]]:
    """Return when a key may end, the present end of one that has it first."""
    kept = []
    if key is not None and key.ends_at is not None:
        unchanged = gettext("Unchanged: {moment}").format(moment=moment_text(key.ends_at))
        kept = [(_KEEP, unchanged)]
    presets = [(days, str(title)) for days, title in _PRESETS]
    return [
        *kept,
        (_NEVER, gettext("Never")),
        *presets,
        (_ON_A_DAY, gettext("Custom date")),
    ]


def _model_choices(models: Iterable[ModelEntry], key: ApiKey | None) -> list[tuple[str, str]]:
    """Return the catalogue's models, and those that the key allows though they are not there."""
    names = [model.name for model in models]
    others = [name for name in key.allowed_models if name not in names] if key else []
    return [(name, name) for name in (*names, *others)]


def _end_of(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def _expires_at(cleaned: dict[str, Any]) -> datetime | None:
    """Return the moment of expiry that was chosen, or None for never. Raise KeyRuleError."""
    expiry = cleaned.get("expiry", "")
    if expiry == _ON_A_DAY and "expires_on" in cleaned:
        moment = _end_of(cleaned["expires_on"])
    elif expiry.isdigit():
        moment = timezone.now() + timedelta(days=int(expiry))
    else:
        return None
    key_rules.require_future(moment)
    return moment


def _whole_number(text: str) -> int:
    """Return a whole number as people type it, such as `60` or `60.0`. Raise ValueError."""
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(key_rules.LIMIT_INVALID)
    try:
        return int(re.sub(r"\.0*$", "", text))
    except ValueError:
        raise ValueError(key_rules.LIMIT_INVALID) from None
