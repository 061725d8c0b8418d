"""Tokens a test can count by hand: every token is three letters and a space, four bytes.

The words come from a fixed list in a fixed order, so the same request has the same answer on
every machine, and a text's length in bytes divided by four is its number of tokens.
"""

from collections.abc import Iterator
from typing import Any

TOKEN_BYTES = 4

_LIST = (
    "sun fox map oak tea ink bay elm jar kit log net owl pen rye sea "
    "toy urn van wax yak zip ash bee cup dew egg fig gem hat ice jam "
    "key lid mud nut oar pie ram sky tin ivy vow web yew arc bow cat "
    "dot eel fan gum hen imp joy keg leg mix nap orb pad rug saw toe "
)
WORDS = tuple(_LIST[start : start + TOKEN_BYTES] for start in range(0, len(_LIST), TOKEN_BYTES))

# Reasoning starts elsewhere in the list, and so does each further choice: a relay that mixes
# them up is seen at once.
REASONING_OFFSET = 32
CHOICE_OFFSET = 7


def token_count(size_bytes: int) -> int:
    """Return the tokens of a text of that many bytes, rounded up."""
    return -(-size_bytes // TOKEN_BYTES)


def pieces(text: str) -> list[str]:
    """Cut a text into tokens of four characters."""
    return [text[start : start + TOKEN_BYTES] for start in range(0, len(text), TOKEN_BYTES)]


def text_bytes(content: Any) -> int:
    """Return the UTF-8 bytes of a message's content: a string, or the text parts of a list.

    Images and files count nothing, and neither do parts of an unknown kind.
    """
    return sum(_utf8_bytes(part) for part in texts(content))


def texts(content: Any) -> Iterator[str]:
    """Yield a string itself, or the text of each part that has one."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield part["text"]


def _utf8_bytes(text: str) -> int:
    # A lone surrogate is JSON's business, not ours: count it rather than fail.
    return len(text.encode("utf-8", "surrogatepass"))
