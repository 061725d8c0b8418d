"""Code that calls the service, ready to be copied: curl, Python, JavaScript."""

import json
import shlex
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Snippet:
    """A piece of code. `name` is unique among those shown together, `language` a highlighter's."""

    name: str
    title: str
    language: str
    text: str


def chat_snippets(
    *, base_url: str, model: str, api_key: str, message: str = "Hello!"
) -> list[Snippet]:
    """Return a chat completion in curl, with OpenAI's SDKs for Python and Node, and by fetch.

    `base_url` is the reader's own address of the API, such as `https://example.com/v1`. `api_key`
    is a key's plaintext, or a word in its place.
    """
    body = {"model": model, "messages": [{"role": "user", "content": message}]}
    url, key, name, text = (_quoted(each) for each in (base_url, api_key, model, message))
    curl = _post_by_curl(f"{base_url}/chat/completions", api_key, body)
    python = f"""from openai import OpenAI

client = OpenAI(base_url={url}, api_key={key})
answer = client.chat.completions.create(
    model={name},
    messages=[{{"role": "user", "content": {text}}}],
)
print(answer.choices[0].message.content)"""
    node = f"""import OpenAI from "openai";

const client = new OpenAI({{ baseURL: {url}, apiKey: {key} }});
const answer = await client.chat.completions.create({{
  model: {name},
  messages: [{{ role: "user", content: {text} }}],
}});
console.log(answer.choices[0].message.content);"""
    fetch = f"""const response = await fetch({_quoted(f"{base_url}/chat/completions")}, {{
  method: "POST",
  headers: {{
    "Authorization": {_quoted(f"Bearer {api_key}")},
    "Content-Type": "application/json",
  }},
  body: JSON.stringify({{
    model: {name},
    messages: [{{ role: "user", content: {text} }}],
  }}),
}});
const answer = await response.json();
console.log(answer.choices[0].message.content);"""
    return [
        Snippet("curl", "curl", "bash", curl),
        Snippet("python", "Python", "python", python),
        Snippet("node", "JavaScript", "javascript", node),
        Snippet("fetch", "fetch", "javascript", fetch),
    ]


def chat_in_go(*, base_url: str, model: str, api_key: str, message: str = "Hello!") -> Snippet:
    """Return the same chat completion in Go, by its standard library."""
    body = {"model": model, "messages": [{"role": "user", "content": message}]}
    url, sent = f"{base_url}/chat/completions", json.dumps(body)
    text = f"""package main

import (
\t"fmt"
\t"io"
\t"net/http"
\t"strings"
)

func main() {{
\tbody := strings.NewReader({_quoted(sent)})
\trequest, err := http.NewRequest("POST", {_quoted(url)}, body)
\tif err != nil {{
\t\tpanic(err)
\t}}
\trequest.Header.Set("Authorization", {_quoted(f"Bearer {api_key}")})
\trequest.Header.Set("Content-Type", "application/json")
\tresponse, err := http.DefaultClient.Do(request)
\tif err != nil {{
\t\tpanic(err)
\t}}
\tdefer response.Body.Close()
\tanswer, err := io.ReadAll(response.Body)
\tif err != nil {{
\t\tpanic(err)
\t}}
\tfmt.Println(response.Status, string(answer))
}}"""
    return Snippet("go", "Go", "go", text)


def image_snippets(*, base_url: str, model: str, api_key: str) -> list[Snippet]:
    """Return a request for a picture in curl, with OpenAI's SDK for Python, and by fetch."""
    prompt = "A toll bridge at dawn"
    url, body = f"{base_url}/images/generations", {"model": model, "prompt": prompt}
    python = f"""from openai import OpenAI

client = OpenAI(base_url={_quoted(base_url)}, api_key={_quoted(api_key)})
answer = client.images.generate(model={_quoted(model)}, prompt={_quoted(prompt)})
print(answer.data[0].url)"""
    return [
        Snippet("curl", "curl", "bash", _post_by_curl(url, api_key, body)),
        Snippet("python", "Python", "python", python),
        Snippet("fetch", "fetch", "javascript", _post_by_fetch(url, api_key, body, "data[0].url")),
    ]


def video_snippets(*, base_url: str, model: str, api_key: str) -> list[Snippet]:
    """Return an order of a video in curl and by fetch."""
    url = f"{base_url}/videos/generations"
    body = {"model": model, "prompt": "A bird flying over the ocean"}
    return [
        Snippet("curl", "curl", "bash", _post_by_curl(url, api_key, body)),
        Snippet("fetch", "fetch", "javascript", _post_by_fetch(url, api_key, body, "id")),
    ]


def management_snippets(*, base_url: str, api_key: str) -> list[Snippet]:
    """Return how to list a team's keys with a management key, in curl, Python and by fetch.

    `base_url` is the reader's own address of the management API.
    """
    url, authorization = f"{base_url}/keys", f"Bearer {api_key}"
    curl = f"""curl {_shell(url)} \\
  -H {_shell(f"Authorization: {authorization}")}"""
    python = f"""import httpx

answer = httpx.get({_quoted(url)}, headers={{"Authorization": {_quoted(authorization)}}})
print(answer.json()["data"])"""
    fetch = f"""const response = await fetch({_quoted(url)}, {{
  headers: {{ "Authorization": {_quoted(authorization)} }},
}});
console.log((await response.json()).data);"""
    return [
        Snippet("curl", "curl", "bash", curl),
        Snippet("python", "Python", "python", python),
        Snippet("fetch", "JavaScript", "javascript", fetch),
    ]


def _post_by_curl(url: str, api_key: str, body: dict[str, Any]) -> str:
    return f"""curl {_shell(url)} \\
  -H {_shell(f"Authorization: Bearer {api_key}")} \\
  -H 'Content-Type: application/json' \\
  -d {_shell(_lines(body))}"""


def _post_by_fetch(url: str, api_key: str, body: dict[str, Any], result: str) -> str:
    return f"""const response = await fetch({_quoted(url)}, {{
  method: "POST",
  headers: {{
    "Authorization": {_quoted(f"Bearer {api_key}")},
    "Content-Type": "application/json",
  }},
  body: JSON.stringify({json.dumps(body)}),
}});
const answer = await response.json();
console.log(answer.{result});"""


def _lines(body: dict[str, Any]) -> str:
    """Return the body as JSON, a member on each line, so that it is seen whole."""
    members = [f"{_quoted(name)}: {_in_full(value)}" for name, value in body.items()]
    return "{\n    " + ",\n    ".join(members) + "\n  }"


def _in_full(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _quoted(text: str) -> str:
    """Return the text as a literal that Python and JavaScript read alike."""
    return json.dumps(text)


def _shell(text: str) -> str:
    """Return the text as one word of a POSIX shell, always in quotes."""
    word = shlex.quote(text)
    return word if word.startswith("'") else f"'{word}'"


def post_by_curl(
    base_url: str,
    path: str,
    api_key: str,
    body: dict[str, Any],
    *,
    files: tuple[str, ...] = (),
    saves: str = "",
) -> Snippet:
    """Return a POST of an endpoint in curl; with `files`, the names of fields, of a form.

    `saves` is the file that the answer goes to, if it can't be shown.
    """
    url = f"{base_url}{path}"
    if not files:
        saving = f" \\\n  -o {_shell(saves)}" if saves else ""
        return Snippet("curl", "curl", "bash", _post_by_curl(url, api_key, body) + saving)
    authorization = f"-H {_shell(f'Authorization: Bearer {api_key}')}"
    fields = [
        f"-F {_shell(f'{name}=@{value}' if name in files else f'{name}={value}')}"
        for name, value in body.items()
    ]
    text = " \\\n  ".join([f"curl {_shell(url)}", authorization, *fields])
    return Snippet("curl", "curl", "bash", text)


def post_by_sdk(
    base_url: str,
    path: str,
    api_key: str,
    body: dict[str, Any],
    *,
    call: str,
    prints: str,
    files: tuple[str, ...] = (),
) -> Snippet:
    """Return a POST of an endpoint with OpenAI's SDK for Python.

    `call` is the SDK's method, and `prints` the expression of the answer to print; without a method
    the SDK's general one is called. `files` are the names of fields that are files.
    """
    head = f"""from openai import OpenAI

client = OpenAI(base_url={_quoted(base_url)}, api_key={_quoted(api_key)})
"""
    if call:
        given = "".join(
            f'    {name}=open({value!r}, "rb"),\n' if name in files else f"    {name}={value!r},\n"
            for name, value in body.items()
        )
        shown = prints or "answer"
        # An expression that does something by itself need not be printed.
        result = shown if shown.endswith(")") else f"print({shown})"
        text = f"{head}answer = client.{call}(\n{given})\n{result}"
    else:
        text = f"{head}print(client.post({_quoted(path)}, cast_to=object, body={body!r}))"
    return Snippet("python", "Python", "python", text)
