"""What the documentation says differently to each reader: their host, their key's name, their plan.

And what it says of the catalogue: which model an example names, which models can do what.
"""

from functools import cached_property

from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone

from accounts.access import Actor
from accounts.api_keys import active
from accounts.models import ApiKey, Plan
from api.catalogue.snapshot import ModelEntry, Snapshot
from portal.access import actor_of, without_chat_keys
from portal.ui.prices import PricedModel, price_list
from portal.ui.snippets import (
    Snippet,
    chat_in_go,
    chat_snippets,
    image_snippets,
    video_snippets,
)
from portal.ui.worked_cost import WorkedCost, example_model, worked_cost

# What an example names where the catalogue has no model for it.
ANY_MODEL = "MODEL_NAME"


class Reader:
    """The reader of a page, and the catalogue as it is now. Looks up only what a page asks for.

    `origin` is the service's address as the reader has it, without a slash at the end. Without
    `request` it is nobody in particular, as for the search index. `fresh_key` is the plaintext of
    a key that was just created, if this page is the one that shows it.
    """

    fresh_key = ""

    def __init__(self, snapshot: Snapshot, origin: str, request: HttpRequest | None = None) -> None:
        self.snapshot = snapshot
        self.origin = origin
        self.base_url = f"{origin}/v1"
        self._request = request

    @cached_property
    def actor(self) -> Actor | None:
        """The member who reads, if somebody is signed in."""
        return actor_of(self._request) if self._request is not None else None

    @cached_property
    def key_in_use(self) -> ApiKey | None:
        """The newest key whose secret the reader was shown and that still opens the API.

        A key that was approved for a program is known to that program alone.
        """
        if self.actor is None:
            return None
        own = without_chat_keys(active(self.actor.visible_keys()))
        keys = own.filter(scope=ApiKey.Scope.INFERENCE, source="")
        return keys.filter(created_by=self.actor.user).order_by("-created_at").first()

    @property
    def key(self) -> str:
        """What stands for the key in examples: a placeholder, except for a key shown this once.

        A key's name is a person's own text, so only letters and digits of it go into code that
        others may paste into a shell.
        """
        if self.fresh_key:
            return self.fresh_key
        name = "YOUR_KEY"
        if self.key_in_use is not None:
            words = "".join(c if c.isascii() and c.isalnum() else " " for c in self.key_in_use.name)
            name = "_".join(["YOUR_KEY", *words.split()])[:40]
        return f"{self.snapshot.service.key_prefix}{name}"

    @cached_property
    def plan(self) -> Plan | None:
        """The plan that the reader's team is on, else the one that new teams start on."""
        if self.actor is not None:
            return self.actor.team.plan
        return Plan.objects.filter(Q(is_default=True)).first()

    @cached_property
    def models(self) -> list[PricedModel]:
        """The models that can be bought now."""
        return price_list(self.snapshot)

    @cached_property
    def chat_models(self) -> list[PricedModel]:
        """Those of text."""
        return [model for model in self.models if model.kind == "chat"]

    @cached_property
    def image_models(self) -> list[PricedModel]:
        """Those that make pictures."""
        return [model for model in self.models if model.kind == "image"]

    @cached_property
    def video_models(self) -> list[PricedModel]:
        """Those that make videos."""
        return [model for model in self.models if model.kind == "video"]

    @cached_property
    def tool_models(self) -> list[PricedModel]:
        """Those that call functions."""
        return [each for each in self.having("tools") if not _refuses(each.entry, "tools")]

    @cached_property
    def reasoning_models(self) -> list[PricedModel]:
        """Those that reason."""
        return self.having("reasoning")

    @cached_property
    def schema_models(self) -> list[PricedModel]:
        """Those whose answers match a JSON schema."""
        return self.having("structured_outputs")

    @cached_property
    def vision_models(self) -> list[PricedModel]:
        """Those that see pictures."""
        return [each for each in self.chat_models if "image" in each.entry.input_modalities]

    @cached_property
    def coding_models(self) -> list[PricedModel]:
        """Those that the coding endpoint serves."""
        return [each for each in self.chat_models if each.entry.is_coding]

    @cached_property
    def cached_models(self) -> list[PricedModel]:
        """Those whose cached input has a price of its own."""
        return [each for each in self.chat_models if each.cached_price]

    @cached_property
    def completion_models(self) -> list[PricedModel]:
        """Those that continue a text."""
        return [each for each in self.chat_models if not _refuses(each.entry, "prompt")]

    @cached_property
    def limited_models(self) -> list[PricedModel]:
        """Those with a limit of their own."""
        return [each for each in self.models if each.entry.requests_per_minute]

    @cached_property
    def aliased_models(self) -> list[PricedModel]:
        """Those with other names."""
        return [each for each in self.models if each.entry.aliases]

    def having(self, feature: str) -> list[PricedModel]:
        """Return the models of text that announce a feature."""
        return [each for each in self.chat_models if feature in each.entry.features]

    @property
    def chat_snippets(self) -> list[Snippet]:
        """A chat completion in each language."""
        given = self._given(self.chat_models)
        return [*chat_snippets(**given), chat_in_go(**given)]

    @property
    def image_snippets(self) -> list[Snippet]:
        """A request for a picture in each language."""
        return image_snippets(**self._given(self.image_models))

    @property
    def video_snippets(self) -> list[Snippet]:
        """An order of a video in each language."""
        return video_snippets(**self._given(self.video_models))

    @property
    def worked_cost(self) -> WorkedCost | None:
        """A cost worked out, if anything costs something."""
        return self._worked([each.entry for each in self.models])

    @property
    def worked_cached_cost(self) -> WorkedCost | None:
        """The same with cached input, if a model has a price for that."""
        return self._worked([each.entry for each in self.cached_models], with_cache=True)

    @property
    def names(self) -> dict[str, str]:
        """The model that an example names, by what the example shows."""
        return {
            "chat": _first(self.chat_models),
            "tools": _first(self.tool_models),
            "reasoning": _first(self.reasoning_models),
            "schema": _first(self.schema_models),
            "vision": _first(self.vision_models),
            "completion": _first(self.completion_models),
            "image": _first(self.image_models),
            "video": _first(self.video_models),
            "coding": _first(self.coding_models or self.chat_models),
        }

    def _given(self, models: list[PricedModel]) -> dict[str, str]:
        return {"base_url": self.base_url, "model": _first(models), "api_key": self.key}

    def _worked(self, models: list[ModelEntry], *, with_cache: bool = False) -> WorkedCost | None:
        now = timezone.now()
        model = example_model(models, now)
        prices = model.price_at(now) if model is not None else None
        if model is None or prices is None:
            return None
        return worked_cost(model, prices, with_cache=with_cache)


def _first(models: list[PricedModel]) -> str:
    return models[0].name if models else ANY_MODEL


def _refuses(model: ModelEntry, parameter: str) -> bool:
    return model.refused_by({parameter}) is not None
