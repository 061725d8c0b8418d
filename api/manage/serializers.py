"""What the management API takes and gives, field by field. Nothing else can be written."""

from datetime import datetime
from typing import Any, TypeVar

from django.utils import timezone
from rest_framework import serializers

from accounts.api_keys import LONGEST_GRACE_SECONDS
from accounts.models import ApiKey, Team
from api.manage.fields import LARGEST_BIGINT, DollarsField, StrictSerializer
from billing.balances import Balance

Limit = TypeVar("Limit", bound=int)
LARGEST_PAGE = 100
MOST_MODELS = 200


class KeyRules(StrictSerializer):
    """What a key may be changed in. `context["team"]` is the key's team.

    A limit of null is the plan's. One above the plan's is staff's to give, not the team's to take.
    """

    name = serializers.CharField(max_length=120)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    allowed_models = serializers.ListField(
        child=serializers.CharField(max_length=120), max_length=MOST_MODELS, required=False
    )
    requests_per_minute = serializers.IntegerField(required=False, allow_null=True, min_value=1)
    tokens_per_minute = serializers.IntegerField(required=False, allow_null=True, min_value=1)
    budget_day = DollarsField(required=False, allow_null=True, source="budget_day_nanos")
    budget_month = DollarsField(required=False, allow_null=True, source="budget_month_nanos")
    budget_total = DollarsField(required=False, allow_null=True, source="budget_total_nanos")

    def validate_expires_at(self, moment: datetime | None) -> datetime | None:
        """Returns the moment. Raises ValidationError for one in the past: DELETE ends a key."""
        if moment is not None and moment <= timezone.now():
            raise serializers.ValidationError("Give a moment in the future.", code="past")
        return moment

    def validate_requests_per_minute(self, limit: int | None) -> int | None:
        """Returns the limit. Raises ValidationError for one above the plan's."""
        return self._within(limit, self._team().plan.requests_per_minute)

    def validate_tokens_per_minute(self, limit: int | None) -> int | None:
        """Returns the limit. Raises ValidationError for one above the plan's."""
        return self._within(limit, self._team().plan.tokens_per_minute)

    def _team(self) -> Team:
        team: Team = self.context["team"]
        return team

    def _within(self, limit: int | None, most: int) -> int | None:
        if limit is not None and limit > most:
            raise serializers.ValidationError(
                f"Give at most {most}, the plan's limit, or contact us for more.", code="max_value"
            )
        return limit


class NewKey(KeyRules):
    """A key to be made."""

    scope = serializers.ChoiceField(choices=ApiKey.Scope.choices, default=ApiKey.Scope.INFERENCE)


class Rotation(StrictSerializer):
    """How long the old key stays good beside the new one, in seconds."""

    grace_seconds = serializers.IntegerField(
        default=3600, min_value=0, max_value=LONGEST_GRACE_SECONDS
    )


class Page(serializers.Serializer[Any]):
    """Which part of a list: at most `limit` items, after the item whose id is `after`."""

    limit = serializers.IntegerField(default=20, min_value=1, max_value=LARGEST_PAGE)
    after = serializers.IntegerField(required=False, min_value=0, max_value=LARGEST_BIGINT)


def key_json(key: ApiKey, plaintext: str | None = None) -> dict[str, Any]:
    """Returns a key as the API shows it; the plaintext is only ever there when it was just made.

    The key comes with `created_by`, `spend` and `replaced_by` selected.
    """
    spend = getattr(key, "spend", None)
    successor = getattr(key, "replaced_by", None)
    dollars = DollarsField().to_representation
    shown: dict[str, Any] = {
        "object": "api_key",
        "id": key.pk,
        "name": key.name,
        "scope": key.scope,
        "prefix": key.prefix,
        "last_four": key.last_four,
        "created_at": _moment(key.created_at),
        "created_by": key.created_by.email if key.created_by else None,
        "last_used_at": _moment(spend.last_used_at) if spend else None,
        "expires_at": _moment(key.expires_at),
        "revoked_at": _moment(key.revoked_at),
        "replaced_by": successor.pk if successor else None,
        "allowed_models": key.allowed_models,
        "requests_per_minute": key.requests_per_minute,
        "tokens_per_minute": key.tokens_per_minute,
    }
    for period in ("day", "month", "total"):
        budget = getattr(key, f"budget_{period}_nanos")
        shown[f"budget_{period}"] = None if budget is None else dollars(budget)
    if plaintext is not None:
        shown["key"] = plaintext
    return shown


def team_json(team: Team, balance: Balance) -> dict[str, Any]:
    """Returns a team as the API shows it."""
    return {
        "object": "team",
        "id": team.pk,
        "name": team.name,
        "slug": team.slug,
        "suspended": team.suspended_at is not None,
        "plan": {
            "name": team.plan.name,
            "title": team.plan.title,
            "requests_per_minute": team.plan.requests_per_minute,
            "tokens_per_minute": team.plan.tokens_per_minute,
        },
        "balance": balance.as_json(),
    }


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat().replace("+00:00", "Z")
