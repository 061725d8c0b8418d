"""What a model's row says it can't do, held against a request."""

from collections.abc import Sequence

from api import errors
from api.catalogue.snapshot import ModelEntry
from api.completion_requests import CompletionBody
from api.requests import AudioPart, ChatBody, FilePart, ImagePart, Part, VideoPart
from api.surfaces import Surface

_MODALITIES: dict[type[Part], str] = {
    ImagePart: "image",
    AudioPart: "audio",
    FilePart: "file",
    VideoPart: "video",
}

_WORKS = {"chat": "text completions", "image": "images", "video": "videos"}


def check_capabilities(model: ModelEntry, surface: Surface, body: ChatBody) -> None:
    """Raises the error of `api.errors` that says what of a chat the model doesn't serve."""
    chat = body.chat
    _check_served(model, surface, chat.model)
    if model.max_messages is not None and len(chat.messages) > model.max_messages:
        raise errors.InvalidValueError(
            f"Invalid 'messages': expected at most {model.max_messages} items, "
            f"but got {len(chat.messages)}.",
            param="messages",
        )
    if model.refusals:
        _check_refusals(model, chat.model, _shown(body))
    for index, message in enumerate(chat.messages):
        if isinstance(message.content, list):
            _check_modalities(model, chat.model, message.content, f"messages[{index}].content")


def check_text_capabilities(model: ModelEntry, surface: Surface, body: CompletionBody) -> None:
    """Raises the error of `api.errors` that says what of a legacy completion isn't served.

    A row that refuses `prompt` refuses the endpoint.
    """
    name = body.request.model
    _check_served(model, surface, name)
    if model.refusals:
        _check_refusals(model, name, _named(body.fields))


def check_media_capabilities(
    model: ModelEntry, surface: Surface, name: str, kind: str, fields: dict[str, object]
) -> None:
    """Raises the error of `api.errors` that says what of a request for pictures isn't served.

    `kind` is the model's that the endpoint takes. A row refuses a value as `quality.hd`.
    """
    _check_served(model, surface, name, kind)
    if model.refusals:
        values = {f"{field}.{value}" for field, value in fields.items() if type(value) is str}
        _check_refusals(model, name, _named(fields) | values)


def _check_served(model: ModelEntry, surface: Surface, name: str, kind: str = "chat") -> None:
    if model.kind != kind:
        raise errors.InvalidValueError(
            f"The model '{errors.quoted(name)}' makes no {_WORKS[kind]}.", param="model"
        )
    if surface.models == "coding" and not model.is_coding:
        raise errors.EndpointNotAllowedError(
            f"The model '{errors.quoted(name)}' is not served by the coding endpoint. "
            "Use a coding model, or the general endpoint.",
            param="model",
        )


def _check_refusals(model: ModelEntry, name: str, shown: set[str]) -> None:
    if rule := model.refused_by(shown):
        first = rule.partition("+")[0]
        raise errors.UnsupportedParameterError.about(rule, name, param=first)


def _named(fields: dict[str, object]) -> set[str]:
    return {field for field, value in fields.items() if value is not None}


def _shown(body: ChatBody) -> set[str]:
    """Returns what a request uses, by the names that `refused_parameters` is written in."""
    chat = body.chat
    shown = _named(body.fields)
    if chat.response_format is not None:
        shown.add(f"response_format.{chat.response_format.__struct_config__.tag}")
    for plugin in chat.plugins or ():
        shown.add(f"plugins.{plugin.id}")
    if chat.thinking is not None:
        shown.add(f"thinking.{chat.thinking.type}")
    return shown


def _check_modalities(model: ModelEntry, name: str, parts: Sequence[Part], place: str) -> None:
    for index, part in enumerate(parts):
        modality = _MODALITIES.get(type(part))
        if modality is not None and modality not in model.input_modalities:
            raise errors.UnsupportedParameterError(
                f"The model '{errors.quoted(name)}' takes no {modality} input. "
                "Leave it out or use another model.",
                param=f"{place}[{index}]",
            )
