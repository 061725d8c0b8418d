"""OpenAI's legacy completions: a text instead of messages, else as chat completions."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from api import errors
from api.dialects.base import AnswerContext, ParsedRequest, named
from api.dialects.fields import billed_parameters, names_of
from api.dialects.openai_chat.answer import TextAnswer
from api.dialects.openai_chat.assembler import TextAssembler
from api.dialects.openai_chat.fields import TextDialect
from api.dialects.openai_chat.request import GenerationRequest, check_stream_options
from api.dialects.openai_chat.stream import TextStreamReader
from api.dialects.openai_completions import translation
from api.dialects.prompt import PromptSize
from api.validation_errors import explained

# As many answers as one request may ask for, over all prompts: each is held for.
MAX_CHOICES = 128
MAX_TOKEN_ID = 2**31 - 1

Text = str | list[int]


class CompletionRequest(GenerationRequest, kw_only=True, gc=False):
    """A legacy completion's parameters, as far as we must know them."""

    prompt: str | Annotated[list[Any], Meta(min_length=1)]
    echo: bool | None = None
    suffix: str | None = None
    best_of: Annotated[int, Meta(ge=1, le=20)] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    @property
    def choices(self) -> int:
        """How many answers are generated, over all prompts: `best_of` makes more than it shows."""
        return len(texts_of(self.prompt)) * max(self.n or 1, self.best_of or 1)


KNOWN_FIELDS = names_of(CompletionRequest)


def parse_completion(fields: dict[str, Any], size_bytes: int) -> ParsedRequest:
    """Return a legacy completion's request.

    Raise one of the 400 errors of `api.errors`, with the place in `param`.
    """
    try:
        request = msgspec.convert(fields, CompletionRequest)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    check_stream_options(request)
    if not isinstance(request.prompt, str):
        check_texts(request.prompt, "prompt")
    if request.best_of is not None:
        _check_best_of(request, request.best_of)
    if request.choices > MAX_CHOICES:
        raise errors.InvalidValueError(
            f"Invalid 'prompt': the prompts ask for {request.choices} answers together, "
            f"and one request may have {MAX_CHOICES}. Send them in several requests.",
            param="prompt",
        )
    options = request.stream_options
    return ParsedRequest(
        model=request.model,
        fields=fields,
        size_bytes=size_bytes,
        used=named(fields),
        billed=billed_parameters(fields, KNOWN_FIELDS),
        prompt=size_of_texts(texts_of(request.prompt), suffix=request.suffix or ""),
        max_tokens=request.max_tokens,
        choices=request.choices,
        echoes=(request.n or 1) if request.echo else 0,
        is_streamed=bool(request.stream),
        wants_usage=options is not None and bool(options.include_usage),
        end_user=request.user or "",
        typed=request,
    )


def texts_of(given: str | list[Any]) -> list[Text]:
    """Return the texts of a parameter one by one: strings, or lists of token ids.

    The parameter is one text, several, one list of token ids, or several (OpenAI's reference).
    """
    if isinstance(given, str) or type(given[0]) is int:
        return [given]
    return given


def size_of_texts(texts: list[Text], suffix: str = "") -> PromptSize:
    """Return how much text and how many tokens there are, together, with the suffix of each."""
    return PromptSize(
        text_bytes=sum(len(text.encode()) for text in texts if isinstance(text, str))
        + len(suffix.encode()) * len(texts),
        token_ids=sum(len(text) for text in texts if not isinstance(text, str)),
        prompts=len(texts),
    )


def check_texts(texts: list[Any], name: str) -> None:
    """Refuse a list that has neither strings, nor token ids, nor lists of token ids."""
    first = type(texts[0])
    for index, text in enumerate(texts):
        place = f"{name}[{index}]"
        if type(text) is not first or first not in {str, int, list}:
            raise errors.InvalidTypeError(
                f"Invalid type for '{name}': expected a string, an array of strings, an array of "
                f"token ids, or an array of such arrays; see '{place}'.",
                param=place,
            )
        if first is int:
            _check_token(text, place)
        elif first is list:
            if not text:
                raise errors.InvalidValueError(
                    f"Invalid '{place}': expected at least 1 item.", param=place
                )
            for place_in_it, token in enumerate(text):
                _check_token(token, f"{place}[{place_in_it}]")


def _check_token(token: object, place: str) -> None:
    if type(token) is not int:
        raise errors.InvalidTypeError(
            f"Invalid type for '{place}': expected an integer, the id of a token.", param=place
        )
    if not 0 <= token <= MAX_TOKEN_ID:
        raise errors.InvalidValueError(
            f"Invalid '{place}': a token's id is from 0 to {MAX_TOKEN_ID}.", param=place
        )


def _check_best_of(request: CompletionRequest, best_of: int) -> None:
    """Refuse what can't be chosen from (OpenAI's reference: at least `n`, and no stream)."""
    if best_of < (request.n or 1):
        raise errors.InvalidValueError(
            "Invalid 'best_of': expected a value not below 'n'.", param="best_of"
        )
    if request.stream and best_of > 1:
        raise errors.InvalidValueError(
            "'best_of' is only allowed when 'stream' is false.", param="best_of"
        )


class CompletionsDialect(TextDialect):
    """Legacy completions. Their text is the model's own, so tags in it are no reasoning."""

    name = "openai_completions"
    path = "/completions"
    translation = translation
    known_fields = KNOWN_FIELDS
    parse = staticmethod(parse_completion)

    def read_answer(self, body: bytes, context: AnswerContext) -> TextAnswer:
        """Return a whole completion. Raise DialectError."""
        return TextAnswer(body, msgspec.structs.replace(context, is_tagged=False))

    def stream_reader(self, context: AnswerContext) -> TextStreamReader:
        """Return a reader of a streamed completion."""
        return TextStreamReader(msgspec.structs.replace(context, is_tagged=False))

    def assembler(self, context: AnswerContext) -> TextAssembler | None:
        """Return what makes a whole completion of chunks; None for a choice among several."""
        best_of = context.request.fields.get("best_of") or 1
        return TextAssembler(context) if best_of == 1 else None


COMPLETIONS = CompletionsDialect()
