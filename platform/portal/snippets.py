"""Ready requests in the languages that people call the API from, for a host, a key and a model.

Nothing here is a secret: `key` is a placeholder, unless its owner has just made it.
"""

import json
import shlex
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Snippet:
    """A program. `id` is fit for HTML, `language` is highlight.js's name."""

    id: str
    title: str
    language: str
    text: str


def chat_snippets(base_url: str, key: str, model: str) -> list[Snippet]:
    """Returns the same chat completion as curl, Python, Node, fetch and Go.

    `base_url` ends with the mount, without a slash, such as `https://host/v1`.
    """
    arguments = (base_url, key, model)
    return [
        Snippet("curl", "curl", "bash", chat_curl(*arguments)),
        Snippet("python", "Python", "python", chat_python(*arguments)),
        Snippet("node", "Node", "javascript", chat_node(*arguments)),
        Snippet("fetch", "fetch", "javascript", chat_fetch(*arguments)),
        Snippet("go", "Go", "go", chat_go(*arguments)),
    ]


def image_snippets(base_url: str, key: str, model: str) -> list[Snippet]:
    """Returns the same request for a picture as curl, Python and fetch."""
    body = {"model": model, "prompt": "A toll bridge at dawn"}
    python = f"""\
from openai import OpenAI

client = OpenAI(base_url={_text(base_url)}, api_key={_text(key)})
answer = client.images.generate(model={_text(model)}, prompt="A toll bridge at dawn")
print(answer.data[0].url)
"""
    return [
        Snippet("curl", "curl", "bash", _curl(f"{base_url}/images/generations", key, body)),
        Snippet("python", "Python", "python", python),
        Snippet(
            "fetch",
            "fetch",
            "javascript",
            _fetch(f"{base_url}/images/generations", key, body, "answer.data[0].url"),
        ),
    ]


def video_snippets(base_url: str, key: str, model: str) -> list[Snippet]:
    """Returns the same order of a video as curl and fetch."""
    body = {"model": model, "prompt": "A bird flying over the ocean"}
    url = f"{base_url}/videos/generations"
    return [
        Snippet("curl", "curl", "bash", _curl(url, key, body)),
        Snippet("fetch", "fetch", "javascript", _fetch(url, key, body, "answer.id")),
    ]


def chat_curl(base_url: str, key: str, model: str) -> str:
    """Returns a chat completion by curl."""
    return _curl(f"{base_url}/chat/completions", key, _chat_body(model))


def chat_python(base_url: str, key: str, model: str) -> str:
    """Returns a chat completion by OpenAI's Python SDK."""
    return f"""\
from openai import OpenAI

client = OpenAI(base_url={_text(base_url)}, api_key={_text(key)})
answer = client.chat.completions.create(
    model={_text(model)},
    messages=[{{"role": "user", "content": "Hello!"}}],
)
print(answer.choices[0].message.content)
"""


def chat_node(base_url: str, key: str, model: str) -> str:
    """Returns a chat completion by OpenAI's SDK for Node, as an ES module."""
    return f"""\
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: {_text(base_url)}, apiKey: {_text(key)} }});
const answer = await client.chat.completions.create({{
  model: {_text(model)},
  messages: [{{ role: "user", content: "Hello!" }}],
}});
console.log(answer.choices[0].message.content);
"""


def chat_fetch(base_url: str, key: str, model: str) -> str:
    """Returns a chat completion by `fetch`, for Node and browsers, without a package."""
    return _fetch(
        f"{base_url}/chat/completions",
        key,
        _chat_body(model),
        "answer.choices[0].message.content",
    )


def chat_go(base_url: str, key: str, model: str) -> str:
    """Returns a chat completion by Go's standard library."""
    body = json.dumps(_chat_body(model), ensure_ascii=False)
    return f"""\
package main

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

func main() {{
	body := strings.NewReader({_text(body)})
	request, err := http.NewRequest("POST", {_text(f"{base_url}/chat/completions")}, body)
	if err != nil {{
		panic(err)
	}}
	request.Header.Set("Authorization", {_text(f"Bearer {key}")})
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {{
		panic(err)
	}}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {{
		panic(err)
	}}
	fmt.Println(response.Status, string(answer))
}}
"""


def _chat_body(model: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello!"}]}


def _curl(url: str, key: str, body: dict[str, Any]) -> str:
    return f"""\
curl {shlex.quote(url)} \\
  -H {shlex.quote(f"Authorization: Bearer {key}")} \\
  -H 'Content-Type: application/json' \\
  -d {shlex.quote(_lines_of(body))}
"""


def _fetch(url: str, key: str, body: dict[str, Any], result: str) -> str:
    lines = json.dumps(body, ensure_ascii=False, indent=2).replace("\n", "\n  ")
    return f"""\
const response = await fetch({_text(url)}, {{
  method: "POST",
  headers: {{
    Authorization: {_text(f"Bearer {key}")},
    "Content-Type": "application/json",
  }},
  body: JSON.stringify({lines}),
}});
const answer = await response.json();
if (!response.ok) throw new Error(answer.error.message);
console.log({result});
"""


def _lines_of(body: dict[str, Any]) -> str:
    """Returns the body as JSON, a member on each line."""
    members = [
        f"{_text(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in body.items()
    ]
    return "{\n    " + ",\n    ".join(members) + "\n  }"


def _text(text: str) -> str:
    """Returns a text as a literal of JSON, which Python, JavaScript and Go read as the same."""
    return json.dumps(text, ensure_ascii=False)
