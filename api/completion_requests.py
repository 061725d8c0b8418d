"""What clients may send to the legacy completions: prompts, and a chat's sampling parameters."""

from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from api import errors
from api.mistakes import explained
from api.requests import GenerationRequest, check_stream_options

# As many answers as one request may ask for, over all prompts: each is held for.
MAX_CHOICES = 128
MAX_TOKEN_ID = 2**31 - 1

Prompt = str | list[int]


class CompletionRequest(GenerationRequest, kw_only=True, gc=False):
    """A legacy completion's parameters, as far as we must know them.

    `prompt` is one text, several, one list of token ids, or several (OpenAI's reference); `prompts`
    tells them apart.
    """

    prompt: str | Annotated[list[Any], Meta(min_length=1)]
    echo: bool | None = None
    suffix: str | None = None
    best_of: Annotated[int, Meta(ge=1, le=20)] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None

    @property
    def prompts(self) -> list[Prompt]:
        """The prompts, one by one."""
        if isinstance(self.prompt, str) or type(self.prompt[0]) is int:
            return [self.prompt]
        return self.prompt

    @property
    def choices(self) -> int:
        """How many answers are generated, over all prompts: `best_of` makes more than it shows."""
        return len(self.prompts) * max(self.n or 1, self.best_of or 1)


class CompletionBody(NamedTuple):
    """A legacy completion's body: what we know of it, all its fields, and its size as JSON."""

    request: CompletionRequest
    fields: dict[str, object]
    size_bytes: int


def parse_completion_body(fields: dict[str, object], size_bytes: int) -> CompletionBody:
    """Returns the typed view of a legacy completion's body, with the body.

    Raises one of the 400 errors of `api.errors`, with the place in `param`.
    """
    try:
        request = msgspec.convert(fields, CompletionRequest)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    check_stream_options(request)
    if not isinstance(request.prompt, str):
        _check_prompts(request.prompt)
    if request.best_of is not None:
        _check_best_of(request, request.best_of)
    if request.choices > MAX_CHOICES:
        raise errors.InvalidValueError(
            f"Invalid 'prompt': the prompts ask for {request.choices} answers together, "
            f"and one request may have {MAX_CHOICES}. Send them in several requests.",
            param="prompt",
        )
    return CompletionBody(request, fields, size_bytes)


def _check_prompts(prompts: list[Any]) -> None:
    """Refuses a list that is neither of texts, nor of token ids, nor of lists of token ids."""
    first = type(prompts[0])
    for index, prompt in enumerate(prompts):
        place = f"prompt[{index}]"
        if type(prompt) is not first or first not in {str, int, list}:
            raise errors.InvalidTypeError(
                "Invalid type for 'prompt': expected a string, an array of strings, an array of "
                f"token ids, or an array of such arrays; see '{place}'.",
                param=place,
            )
        if first is int:
            _check_token(prompt, place)
        elif first is list:
            if not prompt:
                raise errors.InvalidValueError(
                    f"Invalid '{place}': expected at least 1 item.", param=place
                )
            for place_in_it, token in enumerate(prompt):
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
    """Refuses what can't be chosen from (OpenAI's reference: at least `n`, and no stream)."""
    if best_of < (request.n or 1):
        raise errors.InvalidValueError(
            "Invalid 'best_of': expected a value not below 'n'.", param="best_of"
        )
    if request.stream and best_of > 1:
        raise errors.InvalidValueError(
            "'best_of' is only allowed when 'stream' is false.", param="best_of"
        )
