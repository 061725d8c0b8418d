"""Split a text with `<think>` tags into reasoning and answer, in pieces cut anywhere.

Models that write their reasoning into the text begin with it: what comes before the first
`</think>` is reasoning if the text begins with `<think>`. A tag later on is the answer's own text,
as in an answer about such tags. The blank lines that templates put behind a tag belong to nobody.
"""

OPENING = "<think>"
CLOSING = "</think>"
# A text that begins with more blank space than this is an answer, if an odd one.
MAX_BLANK = 256


class ThinkSplitter:
    """Parts the text of one choice. `is_open` until the answer proper has begun."""

    __slots__ = ("_held", "_place")

    def __init__(self) -> None:
        self._held = ""
        # One of: start, opened, thinking, closed, answer.
        self._place = "start"

    @property
    def is_open(self) -> bool:
        """Whether what comes next may still be a tag or reasoning."""
        return self._place != "answer"

    def feed(self, text: str) -> tuple[str, str]:
        """Return what the next piece of text brings: reasoning and answer, each maybe empty."""
        if self._place == "answer":
            return "", text
        self._held += text
        reasoning = ""
        if self._place == "start":
            self._look_for_opening()
        if self._place == "opened":
            self._skip_blanks("thinking")
        if self._place == "thinking":
            reasoning = self._take_reasoning()
        if self._place == "closed":
            self._skip_blanks("answer")
        if self._place != "answer":
            return reasoning, ""
        held, self._held = self._held, ""
        return reasoning, held

    def rest(self) -> tuple[str, str]:
        """Return what was held back, once no more text comes: the start of what was no tag."""
        held, self._held = self._held, ""
        place, self._place = self._place, "answer"
        if place == "start":
            return "", held
        return (held, "") if place == "thinking" else ("", "")

    def _look_for_opening(self) -> None:
        start = self._held.lstrip()
        if start.startswith(OPENING):
            self._held = start[len(OPENING) :]
            self._place = "opened"
        elif not OPENING.startswith(start) or len(self._held) > MAX_BLANK:
            self._place = "answer"

    def _skip_blanks(self, then: str) -> None:
        self._held = self._held.lstrip()
        if self._held:
            self._place = then

    def _take_reasoning(self) -> str:
        """Take reasoning from what is held, up to the closing tag or what may become one."""
        reasoning, tag, after = self._held.partition(CLOSING)
        if tag:
            self._held = after
            self._place = "closed"
            return reasoning
        end = len(reasoning) - _started(reasoning)
        self._held = reasoning[end:]
        return reasoning[:end]


def _started(text: str) -> int:
    """Return how many of the text's last characters may be the start of a closing tag."""
    for length in range(min(len(text), len(CLOSING) - 1), 0, -1):
        if CLOSING.startswith(text[-length:]):
            return length
    return 0
