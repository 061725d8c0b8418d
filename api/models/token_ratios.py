"""Token ratios: the upstreams' token counts compared with our estimates."""

from django.db import models
from django.utils import timezone


class TokenRatio(models.Model):
    """Running sums of a model's estimated and reported prompt tokens."""

    model = models.CharField(max_length=120, primary_key=True)
    estimated_tokens = models.FloatField(default=0)
    reported_tokens = models.FloatField(default=0)
    updated_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.model}: {self.reported_tokens:.0f} of {self.estimated_tokens:.0f}"
