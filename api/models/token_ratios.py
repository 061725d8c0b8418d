"""How far estimates of tokens are from what upstreams count."""

from django.db import models
from django.utils import timezone


class TokenRatio(models.Model):
    """What a model's upstreams counted of prompts, against our estimates: a running sum of both."""

    model = models.CharField(max_length=120, primary_key=True)
    estimated_tokens = models.FloatField(default=0)
    reported_tokens = models.FloatField(default=0)
    updated_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.model}: {self.reported_tokens:.0f} of {self.estimated_tokens:.0f}"
