"""What the programs in Python share: their settings, what they say to the model, and their cases.

A program registers its cases and calls `main`, which runs them and prints a line of JSON for each.
The model is the simulator: what stands between `<simulate>` and `</simulate>` in a prompt is what
it does.
"""

import asyncio
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

URL = os.environ["TOLLGATE_URL"]
KEY = os.environ["TOLLGATE_KEY"]
MODEL = os.environ["TOLLGATE_MODEL"]
EMBEDDING_MODEL = os.environ["TOLLGATE_EMBEDDING_MODEL"]
WRONG_KEY = "sk-tg-" + "0" * 40

SEVEN_TOKENS = "Hello! <simulate>tokens=7</simulate>"
LONG = "Tell me everything. <simulate>tokens=3000&pace_ms=20</simulate>"
SUM = "The sum is 5."
ADD = "What is 2 + 3? <simulate>{}</simulate>".format(
    json.dumps({"turns": [{"calls": [{"name": "add", "input": {"a": 2, "b": 3}}]}, {"text": SUM}]})
)
CITY = "Name a city."
CITY_SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["name", "population"],
    "additionalProperties": False,
}
NUMBERS = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
    "additionalProperties": False,
}

_cases: dict[str, Callable[[], Any]] = {}


def case(function: Callable[[], Any]) -> Callable[[], Any]:
    """Register a case; its name is the function's."""
    _cases[function.__name__] = function
    return function


def is_city(text: str) -> bool:
    """Whether a text is what CITY_SCHEMA describes."""
    city = json.loads(text)
    return set(city) == {"name", "population"} and isinstance(city["population"], int)


def check(holds: Any, shown: Any) -> None:
    """Fail, and show what was found, where a condition does not hold."""
    if not holds:
        raise AssertionError(f"unexpected: {shown!r}")


def raises(error: type[Exception], run: Callable[[], Any]) -> Exception:
    """Return the error that a call raises; fail where it raises none."""
    try:
        result = run()
        if inspect.isawaitable(result):
            result = asyncio.run(_finish(result))
    except error as caught:
        return caught
    raise AssertionError(f"no {error.__name__}, but {result!r}")


async def _finish(awaitable: Any) -> Any:
    return await awaitable


def main() -> None:
    """Run the cases, or those that are named, and print what became of each."""
    for name, function in _cases.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        problem = ""
        try:
            result = function()
            if inspect.isawaitable(result):
                asyncio.run(_finish(result))
        except Exception as error:
            traceback.print_exc()
            problem = f"{type(error).__name__}: {error}"
        print(json.dumps({"case": name, "problem": problem}), flush=True)
