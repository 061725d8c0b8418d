"""Each text that a script of the chat or the playground asks for is given to it by its page."""

import re
from pathlib import Path

import pytest

from portal.chat.presenters import page_texts as chat_texts
from portal.playground.presenters import page_texts as playground_texts
from portal.ui.script_texts import relay_texts

SCRIPTS = Path(__file__).resolve().parents[2] / "static" / "js"
# `say("name"`, not `page.say("…")`; and names that follow from a value.
_CALL = re.compile(r"(?<![.\w])say\((.*?)[,)]", re.S)
_NAME = re.compile(r'"(\w+)"')


@pytest.mark.parametrize(
    ("folder", "texts"),
    [("relay", relay_texts), ("chat", chat_texts), ("playground", playground_texts)],
)
def test_every_text_of_a_script_is_on_its_page(folder: str, texts: object) -> None:
    assert callable(texts)
    asked = {
        name
        for script in (SCRIPTS / folder).glob("*.js")
        for call in _CALL.findall(script.read_text())
        for name in _NAME.findall(call)
    }
    assert asked
    assert asked <= set(texts())
