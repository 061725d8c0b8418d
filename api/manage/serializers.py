"""The management API's requests and responses. An undeclared field in a request is refused."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field, inline_serializer
from rest_framework import serializers

from accounts import key_rules
from accounts.api_keys import LONGEST_GRACE_SECONDS
from accounts.key_rules import KeyRuleError
from accounts.models import ApiKey, Plan, Team
from billing.pricing.money import BUDGET_INVALID, budget_nanos, dollars_text
from billing.usage.balances import Balance, balance_of

LARGEST_BIGINT = 2**63 - 1
LARGEST_PAGE = 100

_LIMIT: dict[str, Any] = {
    "required": False,
    "allow_null": True,
    "min_value": key_rules.LEAST_LIMIT,
    "error_messages": {
        "invalid": key_rules.LIMIT_INVALID,
        "min_value": key_rules.LIMIT_TOO_LOW,
        "max_string_length": key_rules.LIMIT_INVALID,
    },
}


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses undeclared and read-only fields."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the declared fields' values. Raise ValidationError naming the first unknown."""
        if isinstance(data, dict):
            known = {name for name, field in self.fields.items() if not field.read_only}
            for name in data:
                if name not in known:
                    raise serializers.ValidationError(
                        {name: ["Unknown parameter."]}, code="unknown_parameter"
                    )
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "example": "12.500000000"})
class AmountField(serializers.Field[int, str | int | float, str, int]):
    """An amount: dollars such as `"12.50"` in JSON, nano-dollars in Python."""

    default_error_messages = {
        "invalid": BUDGET_INVALID,
    }

    def to_internal_value(self, data: str | int | float) -> int:
        """Return nano-dollars. Raise ValidationError."""
        if isinstance(data, bool) or not isinstance(data, str | int | float):
            self.fail("invalid")
        # By way of its text: the float 0.1 is not exactly a tenth, the client's text "0.1" is.
        text = data if isinstance(data, str) else format(Decimal(str(data)), "f")
        try:
            return budget_nanos(text)
        except ValueError:
            self.fail("invalid")

    def to_representation(self, value: int) -> str:
        """Return dollars with all nine decimals."""
        return dollars_text(value)


@contextmanager
def _validation_errors() -> Iterator[None]:
    """Raise ValidationError in place of KeyRuleError."""
    try:
        yield
    except KeyRuleError as error:
        raise serializers.ValidationError(str(error), code=error.code) from None


class KeyRulesSerializer(StrictSerializer):
    """A key's changeable fields. A limit of null means the plan's; only staff set higher ones."""

    # `context["team"]` is the key's team.

    name = serializers.CharField(
        max_length=key_rules.LONGEST_NAME,
        error_messages={
            "blank": key_rules.NAME_MISSING,
            "max_length": key_rules.NAME_TOO_LONG,
        },
    )
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    allowed_models = serializers.ListField(
        child=serializers.CharField(max_length=key_rules.LONGEST_MODEL_NAME),
        max_length=key_rules.MOST_MODELS,
        required=False,
    )
    requests_per_minute = serializers.IntegerField(**_LIMIT)
    tokens_per_minute = serializers.IntegerField(**_LIMIT)
    budget_day = AmountField(required=False, allow_null=True, source="budget_day_nanos")
    budget_month = AmountField(required=False, allow_null=True, source="budget_month_nanos")
    budget_total = AmountField(required=False, allow_null=True, source="budget_total_nanos")

    def validate_expires_at(self, moment: datetime | None) -> datetime | None:
        """Return the moment. Raise ValidationError for one in the past."""
        if moment is not None:
            with _validation_errors():
                key_rules.require_future(moment)
        return moment

    def validate_requests_per_minute(self, limit: int | None) -> int | None:
        """Return the limit. Raise ValidationError for one above the plan's."""
        return self._within(limit, self._team().plan.requests_per_minute)

    def validate_tokens_per_minute(self, limit: int | None) -> int | None:
        """Return the limit. Raise ValidationError for one above the plan's."""
        return self._within(limit, self._team().plan.tokens_per_minute)

    def _team(self) -> Team:
        team: Team = self.context["team"]
        return team

    def _within(self, limit: int | None, plan_limit: int) -> int | None:
        if limit is not None:
            with _validation_errors():
                key_rules.require_limit(limit, plan_limit)
        return limit


class NewKeySerializer(KeyRulesSerializer):
    """A new key."""

    scope = serializers.ChoiceField(choices=ApiKey.Scope.choices, default=ApiKey.Scope.INFERENCE)


class RotationSerializer(StrictSerializer):
    """The grace period of a rotated key, in seconds."""

    grace_seconds = serializers.IntegerField(
        default=3600, min_value=0, max_value=LONGEST_GRACE_SECONDS
    )


class PageSerializer(serializers.Serializer[Any]):
    """A page of a list: at most `limit` items, after the item whose id is `after`."""

    limit = serializers.IntegerField(default=20, min_value=1, max_value=LARGEST_PAGE)
    after = serializers.IntegerField(required=False, min_value=0, max_value=LARGEST_BIGINT)


class KeySerializer(serializers.Serializer[ApiKey]):
    """A key, without its plaintext."""

    # Expects `created_by`, `spend` and `replaced_by` to be selected.
    object = serializers.SerializerMethodField()
    id = serializers.IntegerField()
    name = serializers.CharField()
    scope = serializers.ChoiceField(choices=ApiKey.Scope.choices)
    prefix = serializers.CharField()
    last_four = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.EmailField(source="created_by.email", allow_null=True)
    last_used_at = serializers.DateTimeField(source="spend.last_used_at", allow_null=True)
    expires_at = serializers.DateTimeField(source="ends_at", allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    frozen_at = serializers.DateTimeField(allow_null=True)
    replaced_by = serializers.IntegerField(source="replaced_by.pk", allow_null=True)
    allowed_models = serializers.ListField(child=serializers.CharField())
    requests_per_minute = serializers.IntegerField(allow_null=True)
    tokens_per_minute = serializers.IntegerField(allow_null=True)
    budget_day = AmountField(source="budget_day_nanos", allow_null=True)
    budget_month = AmountField(source="budget_month_nanos", allow_null=True)
    budget_total = AmountField(source="budget_total_nanos", allow_null=True)

    def get_object(self, key: ApiKey) -> str:
        """Return the object's type."""
        return "api_key"


class CreatedKeySerializer(KeySerializer):
    """A key that was just created, with its plaintext (`key`), which is shown this once."""

    key = serializers.SerializerMethodField()

    def get_key(self, key: ApiKey) -> str:
        """Return the plaintext."""
        plaintext: str = self.context["plaintext"]
        return plaintext


# Built, not declared: a serializer can't declare a field called `data`.
KeyPage = inline_serializer(
    "KeyPage",
    {
        "object": serializers.ChoiceField(choices=["list"]),
        "data": KeySerializer(many=True),
        "has_more": serializers.BooleanField(),
    },
)


class PlanSerializer(serializers.Serializer[Plan]):
    """A team's plan."""

    name = serializers.CharField()
    title = serializers.CharField()
    requests_per_minute = serializers.IntegerField()
    tokens_per_minute = serializers.IntegerField()
    concurrent_requests = serializers.IntegerField()
    max_keys = serializers.IntegerField()


class BalanceSerializer(serializers.Serializer[Balance]):
    """A balance, in dollars with nine decimals and in nano-dollars."""

    posted = AmountField(source="posted_nanos")
    held = AmountField(source="held_nanos")
    available = AmountField(source="available_nanos")
    posted_nanos = serializers.IntegerField()
    held_nanos = serializers.IntegerField()
    available_nanos = serializers.IntegerField()


class TeamSerializer(serializers.Serializer[Team]):
    """A team, its plan and its balance."""

    object = serializers.SerializerMethodField()
    id = serializers.IntegerField()
    name = serializers.CharField()
    slug = serializers.CharField()
    suspended_at = serializers.DateTimeField(allow_null=True)
    plan = PlanSerializer()
    balance = serializers.SerializerMethodField()

    def get_object(self, team: Team) -> str:
        """Return the object's type."""
        return "team"

    @extend_schema_field(BalanceSerializer)
    def get_balance(self, team: Team) -> Any:
        """Return the team's balance."""
        return BalanceSerializer(balance_of(team)).data
