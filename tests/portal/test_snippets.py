"""Code to be copied: whatever stands in it, it means the same to its language."""

import ast
import json
import shlex
from typing import Any

import pytest

from portal.ui.snippets import chat_snippets, management_snippets
from tests.cast import signed_in
from tests.portal.keys_pages import make, plaintexts

BASE = "https://example.com/v1"


def by_name(**changes: str) -> dict[str, str]:
    given = {"base_url": BASE, "model": "glm-5.2", "api_key": "sk-x", **changes}
    return {snippet.name: snippet.text for snippet in chat_snippets(**given)}


@pytest.mark.parametrize("message", ["Hello!", "it's", '"quoted"', "a\nb", "$(rm -rf ~)", "ünï"])
def test_a_message_survives_every_language(message: str) -> None:
    texts = by_name(message=message)
    words = shlex.split(texts["curl"].replace("\\\n", ""))
    assert words[0:2] == ["curl", f"{BASE}/chat/completions"]
    body = json.loads(words[words.index("-d") + 1])
    assert body["messages"] == [{"role": "user", "content": message}]
    literals = {
        node.value
        for node in ast.walk(ast.parse(texts["python"]))
        if isinstance(node, ast.Constant)
    }
    assert {BASE, "glm-5.2", "sk-x", message} <= literals
    for name in ("node", "fetch"):
        assert json.dumps(message) in texts[name]


def test_each_snippet_names_key_model_and_address() -> None:
    for text in by_name().values():
        assert BASE in text
        assert "sk-x" in text
        assert "glm-5.2" in text


def test_python_of_the_management_api_is_python() -> None:
    snippets = management_snippets(base_url="https://example.com/m", api_key="sk-x")
    assert "python" in {snippet.language for snippet in snippets}
    for snippet in snippets:
        assert "https://example.com/m/keys" in snippet.text
        assert "Bearer sk-x" in snippet.text
        if snippet.language == "python":
            ast.parse(snippet.text)


@pytest.mark.django_db
def test_without_a_catalogue_a_key_is_made_without_code(alice: Any, alices_account: Any) -> None:
    answer = make(signed_in(alice))
    assert answer.status_code == 200
    assert answer.context["snippets"] == []
    assert plaintexts(answer)
