"""What `msgspec` finds wrong with a request, said in OpenAI's words with OpenAI's codes.

`msgspec` names the types and the place (``Expected `int`, got `bool` - at `$.max_tokens` ``), but
not for readers of an API's documentation, whose clients also look at `param` and `code`.
"""

import re
from typing import TypeVar

import msgspec

from api import errors

Checked = TypeVar("Checked")

_PLACE = re.compile(r"(?s)^(.*) - at `(?:key in )?\$(.*)`$")
_MISSING = re.compile(r"Object missing required field `(.+)`")
_TYPE = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_BOUND = re.compile(r"Expected `(?:int|float)` (>=|<=|>|<) (\S+)")
_LENGTH = re.compile(r"Expected `(\w+)` of length (>=|<=) (\d+)")
_VALUE = re.compile(r"(?s)Invalid (?:enum )?value (['\"])(.*)\1")
_KINDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
_ITEMS = {"str": "character", "array": "item", "object": "field"}
_SUPPORTED = {
    "role": ("system", "developer", "user", "assistant", "tool", "function"),
    "response_format": ("url", "b64_json"),
    "response_format.type": ("text", "json_object", "json_schema"),
    "content.type": ("text", "image_url", "input_audio", "file", "video_url", "refusal"),
    "tools.type": ("function",),
    "tool_choice.type": ("function", "allowed_tools"),
    "thinking.type": ("enabled", "disabled"),
}


def checked(value: object, struct: type[Checked], place: str) -> Checked:
    """Return a part of a request as the struct that it has to be.

    Raise one of the 400 errors of `api.errors` for one that isn't, with its place below `place`.
    """
    try:
        return msgspec.convert(value, struct)
    except msgspec.ValidationError as error:
        raise explained(str(error), place) from None


def explained(text: str, place: str = "") -> errors.InvalidRequestError:
    """Return the error that says in OpenAI's words what `msgspec` found below a place."""
    message, path = _split(text)
    path = f"{place}.{path}".strip(".") if not path.startswith("[") else place + path
    if found := _MISSING.match(message):
        place = f"{path}.{found[1]}" if path else found[1]
        return errors.MissingParameterError.about(place, param=place)
    if found := _TYPE.match(message):
        expected = [kind for kind in found[1].split(" | ") if kind != "null"]
        wanted = " or ".join(_KINDS.get(kind, kind) for kind in expected)
        got = _KINDS.get(found[2], found[2])
        return errors.InvalidTypeError(
            f"Invalid type for '{path}': expected {wanted}, but got {got} instead.", param=path
        )
    return errors.InvalidValueError(_value_message(message, path), param=path)


def _split(text: str) -> tuple[str, str]:
    """Return the message and the path of its place, such as `messages[2].content`."""
    found = _PLACE.match(text)
    if found is None:
        return text, ""
    return found[1], found[2].removeprefix(".")


def _value_message(message: str, path: str) -> str:
    if found := _BOUND.match(message):
        return f"Invalid '{path}': expected a value {found[1]} {found[2].removesuffix('.0')}."
    if found := _LENGTH.match(message):
        bound = "at least" if found[2] == ">=" else "at most"
        items = f"{_ITEMS.get(found[1], 'item')}{'' if found[3] == '1' else 's'}"
        return f"Invalid '{path}': expected {bound} {found[3]} {items}."
    if found := _VALUE.match(message):
        supported = _SUPPORTED.get(_kind_of_place(path), ())
        values = ", ".join(f"'{value}'" for value in supported)
        hint = f" Supported values are: {values}." if values else ""
        return f"Invalid value: '{errors.quoted(found[2])}'.{hint}"
    if "regex" in message:
        return (
            f"Invalid '{path}': expected 1 to 64 letters, digits, underscores and dashes "
            "(pattern '^[a-zA-Z0-9_-]{1,64}$')."
        )
    return f"Invalid '{path}': {message[:1].lower()}{message[1:]}."


def _kind_of_place(path: str) -> str:
    """Return the place without indexes, and without what is common to many places."""
    bare = re.sub(r"\[\d+\]", "", path)
    for known in _SUPPORTED:
        if bare == known or bare.endswith(f".{known}"):
            return known
    return bare
