"""The chat page's request bodies: bounded, typed and validated."""

from typing import Annotated, Literal, TypeVar
from uuid import UUID

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest
from django.utils.translation import gettext as _
from msgspec import Meta, Struct

MOST_MESSAGES = 400
LONGEST_TEXT = 200_000  # characters of one message
_Title = Annotated[str, Meta(min_length=1, max_length=120)]
_Model = Annotated[str, Meta(max_length=120)]
_Text = Annotated[str, Meta(max_length=LONGEST_TEXT)]


class Settings(Struct, forbid_unknown_fields=True):
    """The request settings; None means the model's default."""

    system: Annotated[str, Meta(max_length=20_000)] = ""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=10_000_000)] | None = None
    thinking: Literal["enabled", "disabled"] | None = None


class Turn(Struct, forbid_unknown_fields=True):
    """A message of a conversation."""

    role: Literal["user", "assistant"]
    content: _Text
    reasoning: _Text = ""
    model: _Model = ""
    request_id: UUID | None = None
    finish_reason: Annotated[str, Meta(max_length=40)] = ""


class NewConversation(Struct, forbid_unknown_fields=True):
    """A conversation to store, with what was said so far."""

    title: _Title
    model: _Model
    messages: Annotated[list[Turn], Meta(max_length=MOST_MESSAGES)]
    settings: Settings


class Changes(Struct, forbid_unknown_fields=True):
    """Changes to a conversation; fields that are not set stay as they are."""

    title: _Title | None = None
    model: _Model | None = None
    settings: Settings | None = None


class NewTurns(Struct, forbid_unknown_fields=True):
    """Messages that follow the first `keep` of a conversation; the others are dropped."""

    keep: Annotated[int, Meta(ge=0, le=MOST_MESSAGES)]
    messages: Annotated[list[Turn], Meta(min_length=1, max_length=MOST_MESSAGES)]


class Choice(Struct, forbid_unknown_fields=True):
    """Whether to store conversations."""

    stores: bool


class PayloadError(Exception):
    """The body can't be used; the text says why, `status` is the answer's."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


T = TypeVar("T", bound=Struct)


def read(request: HttpRequest, kind: type[T]) -> T:
    """Return the request's JSON body as that struct. Raise PayloadError."""
    try:
        return msgspec.json.decode(request.body, type=kind)
    except RequestDataTooBig:
        raise PayloadError(_("This is too large to store."), 413) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PayloadError(_("This can't be stored: {reason}.").format(reason=error)) from None
