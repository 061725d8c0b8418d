"""The documentation page of an operation without its own text, generated from the operation."""

import json
from typing import Any

from django.utils.translation import gettext

from api.operations.base import Operation
from portal.docs.reader import ANY_MODEL, Reader
from portal.ui.model_snippets import operation_snippets
from portal.ui.prices import PricedModel
from portal.ui.snippets import Snippet


class OperationText:
    """An operation as the template `docs/pages/operation.html` shows it."""

    def __init__(self, operation: Operation, reader: Reader) -> None:
        self.path = operation.path
        self.method = operation.method.upper()
        self.description = gettext(operation.description)
        self.charge = gettext(operation.page.charge) if operation.page is not None else ""
        self._operation = operation
        self._reader = reader

    @property
    def models(self) -> list[PricedModel]:
        """The models that it can be called with."""
        kind, modality = self._operation.model_kind, self._operation.model_input
        return [
            each
            for each in self._reader.models
            if each.kind == kind and modality in {"", *each.entry.input_modalities}
        ]

    @property
    def takes_models(self) -> bool:
        """Whether it calls a model."""
        return bool(self._operation.model_kind)

    @property
    def answer(self) -> str:
        """An example answer as JSON; empty if the answer isn't JSON."""
        if self._operation.answer is None:
            return ""
        return json.dumps(self._operation.answer_example, indent=2, ensure_ascii=False)

    @property
    def snippets(self) -> list[Snippet]:
        """The first example in curl and with OpenAI's SDK for Python."""
        body = self._example()
        if body is None:
            return []
        return operation_snippets(
            self._operation, body, base_url=self._reader.base_url, api_key=self._reader.key
        )

    def _example(self) -> dict[str, Any] | None:
        """Return the first example's body, for a model of the reader's catalogue."""
        example = next(iter(self._operation.examples.values()), None)
        if not isinstance(example, dict):
            return None
        if not self.takes_models:
            return dict(example)
        models = self.models
        names = [model.name for model in models] or [ANY_MODEL]
        named = example.get("model")
        return {**example, "model": named if named in names else names[0]}
