"""Fields and the base of serializers that the management API shares."""

import re
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.pricing.money import dollars_text, nanos_from_dollars

LARGEST_BIGINT = 2**63 - 1
# Up to 999,999,999.999999999: ten digits of dollars would not all fit a bigint of nano-dollars.
_DOLLARS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer that refuses fields it doesn't declare, or doesn't let be written."""

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
class DollarsField(serializers.Field[int, str | int | float, str, int]):
    """An amount in dollars outside, such as `"12.50"`, and in nano-dollars inside."""

    default_error_messages = {
        "invalid": 'Give an amount in dollars, such as "12.50".',
    }

    def to_internal_value(self, data: str | int | float) -> int:
        """Return nano-dollars. Raise ValidationError."""
        if isinstance(data, bool) or not isinstance(data, str | int | float):
            self.fail("invalid")
        # Through the text: 0.1 as a float is not a tenth, as the client's text it is.
        text = data if isinstance(data, str) else format(Decimal(str(data)), "f")
        if not _DOLLARS.fullmatch(text):
            self.fail("invalid")
        return nanos_from_dollars(text)

    def to_representation(self, value: int) -> str:
        """Return dollars with all nine decimals."""
        return dollars_text(value)
