"""What `msgspec` finds wrong with a request, said in OpenAI's words with OpenAI's codes.

`msgspec` names the types and the place (``Expected `int`, got `bool` - at `$.max_tokens` ``), but
not for readers of an API's documentation, whose clients also look at `param` and `code`.
"""

import re
from functools import reduce
from typing import TypeVar

import msgspec

from api import errors
from api.phrases import Phrase

Checked = TypeVar("Checked")

_PLACE = re.compile(r"(?s)^(.*) - at `(?:key in )?\$(.*)`$")
_MISSING = re.compile(r"Object missing required field `(.+)`")
_TYPE = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_BOUND = re.compile(r"Expected `(?:int|float)` (>=|<=|>|<) (\S+)")
_LENGTH = re.compile(r"Expected `(\w+)` of length (>=|<=) (\d+)")
_VALUE = re.compile(r"(?s)Invalid (?:enum )?value (['\"])(.*)\1")
_KINDS = {
    "int": Phrase("an integer"),
    "float": Phrase("a number"),
    "str": Phrase("a string"),
    "bool": Phrase("a boolean"),
    "array": Phrase("an array"),
    "object": Phrase("an object"),
    "null": "null",
}
# By a bound on a length and what has it.
_LENGTHS = {
    ("<=", "str"): Phrase("Invalid '{path}': expected at most {number} characters."),
    ("<=", "array"): Phrase("Invalid '{path}': expected at most {number} items."),
    ("<=", "object"): Phrase("Invalid '{path}': expected at most {number} fields."),
    (">=", "str"): Phrase("Invalid '{path}': expected at least {number} characters."),
    (">=", "array"): Phrase("Invalid '{path}': expected at least {number} items."),
    (">=", "object"): Phrase("Invalid '{path}': expected at least {number} fields."),
}
_ONE = {
    ("<=", "str"): Phrase("Invalid '{path}': expected at most 1 character."),
    ("<=", "array"): Phrase("Invalid '{path}': expected at most 1 item."),
    ("<=", "object"): Phrase("Invalid '{path}': expected at most 1 field."),
    (">=", "str"): Phrase("Invalid '{path}': expected at least 1 character."),
    (">=", "array"): Phrase("Invalid '{path}': expected at least 1 item."),
    (">=", "object"): Phrase("Invalid '{path}': expected at least 1 field."),
}
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
        wanted = reduce(_either, (_KINDS.get(kind, kind) for kind in expected))
        got = _KINDS.get(found[2], found[2])
        return errors.InvalidTypeError(
            Phrase(
                "Invalid type for '{path}': expected {wanted}, but got {got} instead.",
                path=path,
                wanted=wanted,
                got=got,
            ),
            param=path,
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
        return Phrase(
            "Invalid '{path}': expected a value {bound} {number}.",
            path=path,
            bound=found[1],
            number=found[2].removesuffix(".0"),
        )
    if found := _LENGTH.match(message):
        kind = found[1] if found[1] in ("str", "object") else "array"
        texts = _ONE if found[3] == "1" else _LENGTHS
        return Phrase(texts[found[2], kind], path=path, number=found[3])
    if found := _VALUE.match(message):
        supported = _SUPPORTED.get(_kind_of_place(path), ())
        values = ", ".join(f"'{value}'" for value in supported)
        value = errors.quoted(found[2])
        if not values:
            return Phrase("Invalid value: '{value}'.", value=value)
        return Phrase(
            "Invalid value: '{value}'. Supported values are: {values}.", value=value, values=values
        )
    if "regex" in message:
        return Phrase(
            "Invalid '{path}': expected 1 to 64 letters, digits, underscores and dashes "
            "(pattern '^[a-zA-Z0-9_-]{{1,64}}$').",
            path=path,
        )
    reason = f"{message[:1].lower()}{message[1:]}"
    return Phrase("Invalid '{path}': {reason}.", path=path, reason=reason)


def _either(first: str, second: str) -> str:
    return Phrase("{first} or {second}", first=first, second=second)


def _kind_of_place(path: str) -> str:
    """Return the place without indexes, and without what is common to many places."""
    bare = re.sub(r"\[\d+\]", "", path)
    for known in _SUPPORTED:
        if bare == known or bare.endswith(f".{known}"):
            return known
    return bare
