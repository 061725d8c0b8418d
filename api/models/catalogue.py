"""The catalogue that staff edit: models, aliases, upstreams and routes.

A change of any of these tables advances `billing.CatalogueVersion` (by trigger); the relay's
processes then load a new snapshot (`api/catalogue/snapshot.py`).
"""

import re
from urllib.parse import urlsplit

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from api.upstream_hosts import problem_with
from billing.models import Product, RatesRow


def validate_base_url(url: str) -> None:
    """Raise ValidationError for a text that can't be an upstream's base URL, or may not be.

    URLField would refuse a host without a dot, such as a container's name, and accept a query, a
    fragment or a password, which don't belong in a row.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for what is no port
    except ValueError as error:
        raise ValidationError(f"{url!r} is no address: {error}.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"\s", url):
        raise ValidationError(f"{url!r} is no http or https address.")
    if parts.query or parts.fragment or parts.username is not None or url.endswith(("/", "?", "#")):
        raise ValidationError(
            f"{url!r} must end with its path, without a slash, and hold no user, query or fragment."
        )
    problem = problem_with(url)
    if problem:
        raise ValidationError(problem)


class Service(models.Model):
    """The one row that holds the service's name, key prefix and contact."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    name = models.CharField(max_length=80, default="Tollgate")
    tagline = models.CharField(max_length=200, blank=True)
    key_prefix = models.CharField(max_length=20, default="sk-tg-")
    contact_email = models.EmailField(blank=True)
    catalogue = models.CharField(max_length=80, blank=True, help_text="The file loaded last.")
    is_open = models.BooleanField(
        default=True, help_text="Clear this to refuse every request with 503 service_unavailable."
    )
    refuses_below_cost = models.BooleanField(
        "refuses to sell below cost",
        default=False,
        db_default=False,
        help_text=(
            "Don't use routes that cost more than the model's price; without another, the model is "
            "offline. Either way, staff are alerted."
        ),
    )
    brand_digest = models.CharField(
        max_length=64,
        default="",
        db_default="",
        blank=True,
        editable=False,
        help_text="The published brand's (portal/brand): processes reload it when this changes.",
    )

    class Meta:
        verbose_name_plural = "service"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="service_one_row")]

    def __str__(self) -> str:
        return self.name


class Upstream(models.Model):
    """A provider that requests are relayed to, with one or more keys (`UpstreamKey`).

    The table has columns of the last release's only key, too; what that release writes into them
    becomes a row of `UpstreamKey` (migration 0034).
    """

    name = models.SlugField(max_length=80, unique=True)
    base_url = models.CharField(
        "base URL", max_length=200, help_text="Up to and without `/chat/completions`."
    )
    is_enabled = models.BooleanField(
        default=True,
        help_text="Clear this to send it no requests. Models without another route are offline.",
    )
    max_concurrency = models.PositiveIntegerField(
        default=512, help_text="Calls at once from each process."
    )
    connect_timeout_seconds = models.FloatField(
        default=5, help_text="Seconds to connect. After that, the next route is tried."
    )
    first_token_timeout_seconds = models.FloatField(
        default=120, help_text="Seconds to the first token. After that, the next route is tried."
    )
    idle_timeout_seconds = models.FloatField(
        default=60,
        help_text="Seconds without data, comments aside, after which an answer ends with an error.",
    )
    total_timeout_seconds = models.FloatField(
        default=900, help_text="Seconds that a call may take; its hold lasts a little longer."
    )
    drains_on_disconnect = models.BooleanField(
        default=False,
        help_text="It bills to the end anyway: read on to its usage when the client disconnects.",
    )
    drains_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text=(
            "No new calls from this moment on (UTC); running ones end as usual. Empty: never. "
            "Models without another route are offline."
        ),
    )
    dialect = models.CharField(
        max_length=40,
        default="openai_chat",
        db_default="openai_chat",
        help_text="The wire format that it speaks: one of api/dialects.",
    )

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise ValidationError for a base URL that can't be one.

        Not a validator of the field: migrations would import it, and history must not need today's
        code.
        """
        super().clean()
        if self.base_url:
            try:
                validate_base_url(self.base_url)
            except ValidationError as error:
                raise ValidationError({"base_url": error.messages}) from None


class Model(models.Model):
    """A model that customers request by its public name."""

    class Kind(models.TextChoices):
        """The kind of endpoint that serves a model."""

        CHAT = "chat"
        EMBEDDING = "embedding"
        IMAGE = "image"
        VIDEO = "video"
        RERANK = "rerank"
        MODERATION = "moderation"
        SPEECH = "speech"
        TRANSCRIPTION = "transcription"

    name = models.CharField(max_length=120, unique=True, help_text="The public name.")
    title = models.CharField(max_length=120, blank=True)
    description = models.TextField(blank=True)
    owner = models.CharField(max_length=80, blank=True, help_text="`owned_by` in the models list.")
    kind = models.CharField(max_length=20, choices=Kind, default=Kind.CHAT)
    product = models.OneToOneField(Product, on_delete=models.PROTECT, related_name="model")
    position = models.PositiveIntegerField(default=0, help_text="The position in lists.")
    is_enabled = models.BooleanField(default=True)
    is_coding = models.BooleanField(default=False, help_text="Served by the coding surface.")
    created_at = models.DateTimeField(default=timezone.now)

    context_tokens = models.PositiveIntegerField(
        default=131_072, help_text="0 where tokens don't count, as for images and videos."
    )
    max_output_tokens = models.PositiveIntegerField(default=8_192)
    default_max_tokens = models.PositiveIntegerField(
        null=True, blank=True, help_text="Sent when the client names none. Empty: the maximum."
    )
    default_temperature = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(2)]
    )
    default_top_p = models.FloatField(
        null=True, blank=True, validators=[MinValueValidator(0), MaxValueValidator(1)]
    )
    max_messages = models.PositiveIntegerField(null=True, blank=True)
    hides_reasoning = models.BooleanField(
        default=False,
        db_default=False,
        help_text=(
            "Upstreams bill reasoning that they don't stream, or stream in summary. Streams then "
            "reserve credits for max_tokens at once, instead of as the answer grows."
        ),
    )
    bytes_per_token = models.FloatField(
        default=4, validators=[MinValueValidator(0.5)], help_text="For estimates, not for holds."
    )
    tokens_per_image = models.PositiveIntegerField(
        default=4_096, help_text="The most that one image in a prompt can count for."
    )

    input_modalities = ArrayField(models.CharField(max_length=16), default=list, blank=True)
    output_modalities = ArrayField(models.CharField(max_length=16), default=list, blank=True)
    features = ArrayField(
        models.CharField(max_length=32),
        default=list,
        blank=True,
        help_text=(
            "Listed as supported: tools, json_mode, structured_outputs, reasoning, web_search. "
            "What is refused is in `refused parameters`."
        ),
    )
    sampling_parameters = ArrayField(
        models.CharField(max_length=32),
        default=list,
        blank=True,
        help_text="Listed as supported; others are passed on unless they are refused.",
    )
    refused_parameters = ArrayField(
        models.CharField(max_length=64),
        default=list,
        blank=True,
        help_text=(
            "Refused with 400 unsupported_parameter. A parameter's name (`tools`), or `name.value` "
            "for a variant of it (`response_format.json_schema`, `plugins.web`); `a+b` refuses a "
            "request that has both."
        ),
    )
    allowed_parameters = ArrayField(
        models.CharField(max_length=64),
        default=list,
        db_default=[],
        blank=True,
        help_text=(
            "Parameters that can change what the upstream bills, and are refused unless they are "
            "here: plugins, or plugins.web for one of them; service_tier, web_search_options, …. "
            "Price the model for them."
        ),
    )
    quantization = models.CharField(max_length=16, blank=True)
    datacenters = ArrayField(models.CharField(max_length=2), default=list, blank=True)
    image_sizes = ArrayField(
        models.CharField(max_length=16),
        default=list,
        blank=True,
        help_text="The sizes of images or videos that it makes. Empty: any.",
    )
    requests_per_minute = models.PositiveIntegerField(
        null=True, blank=True, help_text="A limit per key for this model, as for free ones."
    )
    source = models.CharField(max_length=200, blank=True, help_text="The source of the figures.")

    class Meta:
        ordering = ["position", "name"]

    def __str__(self) -> str:
        return self.name


class ModelAlias(models.Model):
    """An alias: another public name of a model."""

    name = models.CharField(max_length=120, unique=True)
    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="aliases")

    class Meta:
        verbose_name_plural = "model aliases"

    def __str__(self) -> str:
        return f"{self.name} → {self.model}"


class Route(models.Model):
    """A model at an upstream, under the upstream's name for it."""

    class ReasoningDialect(models.TextChoices):
        """The field that the upstream puts its reasoning in."""

        REASONING_CONTENT = "reasoning_content"
        REASONING = "reasoning"
        THINK_TAGS = "think"

    class MaxTokensField(models.TextChoices):
        """The upstream's name for the output limit."""

        MAX_TOKENS = "max_tokens"
        MAX_COMPLETION_TOKENS = "max_completion_tokens"

    class BrokenStreams(models.TextChoices):
        """When the customer is charged for a stream that the upstream broke off."""

        REPORTED = "reported", "If the upstream reported usage"
        ALWAYS = "always", "Always"
        NEVER = "never", "Never"

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="routes")
    upstream = models.ForeignKey(Upstream, on_delete=models.PROTECT, related_name="routes")
    upstream_model = models.CharField(
        max_length=200, help_text="The upstream's own name for the model."
    )
    priority = models.PositiveSmallIntegerField(default=0, help_text="The lowest is tried first.")
    weight = models.PositiveIntegerField(default=1, help_text="The share among equal priorities.")
    reasoning_dialect = models.CharField(
        max_length=20, choices=ReasoningDialect, default=ReasoningDialect.REASONING_CONTENT
    )
    max_tokens_field = models.CharField(
        max_length=24,
        choices=MaxTokensField,
        default=MaxTokensField.MAX_TOKENS,
        db_default=MaxTokensField.MAX_TOKENS,
        help_text="OpenAI's reasoning models take max_completion_tokens only.",
    )
    takes_stream_options = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Without stream_options, streams that report no usage are estimated.",
    )
    takes_temperature = models.BooleanField(
        default=True, db_default=True, help_text="Clear this to leave out temperature and top_p."
    )
    takes_developer_role = models.BooleanField(
        default=True, db_default=True, help_text="Clear this to send developer messages as system."
    )
    passes_unknown_fields = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Send fields of requests that are unknown here, whatever they cost upstream.",
    )
    streams_plain_answers = models.BooleanField(
        default=False,
        db_default=False,
        help_text=(
            "Ask for a stream where the client wants a plain answer, and put that together here: "
            "for upstreams and proxies that end connections which are silent for minutes."
        ),
    )
    charges_broken_streams = models.CharField(
        max_length=12,
        choices=BrokenStreams,
        default=BrokenStreams.REPORTED,
        db_default=BrokenStreams.REPORTED,
        help_text=(
            "When the customer pays for the prompt and the delivered part of a stream that the "
            "upstream breaks off. Go by what the upstream bills."
        ),
    )
    charges_empty_answers = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Charge the input of empty answers, as the upstream bills it.",
    )
    is_enabled = models.BooleanField(
        default=True, help_text="Clear this to send no requests this way."
    )
    drains_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text=(
            "No new calls from this moment on (UTC); running ones end as usual. Empty: never. "
            "Without another route, the model is offline."
        ),
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["model", "upstream", "upstream_model"], name="route_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.model} at {self.upstream}"


class RouteCost(RatesRow):
    """What a route's upstream charges us from one moment on.

    Two suppliers of one model have two costs. A version in use is never changed: usage records have
    lines with its rates, and `check_ledger` compares them. Without a version, a route's cost is
    unknown, and counts as 0.
    """

    route = models.ForeignKey(Route, on_delete=models.PROTECT, related_name="costs")

    class Meta:
        ordering = ["route", "-effective_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["route", "effective_from"], name="routecost_one_version_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.route} from {self.effective_from:%Y-%m-%d %H:%M}"
