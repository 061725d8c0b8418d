"""Code that calls the service, ready to be copied: curl, Python, JavaScript."""

import json
import shlex
from dataclasses import dataclass


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
    """Returns a chat completion in curl, with OpenAI's SDKs for Python and Node, and by fetch.

    `base_url` is the reader's own address of the API, such as `https://example.com/v1`. `api_key`
    is a key's plaintext, or a word in its place.
    """
    body = {"model": model, "messages": [{"role": "user", "content": message}]}
    url, key, name, text = (_quoted(each) for each in (base_url, api_key, model, message))
    curl = f"""curl {_shell(f"{base_url}/chat/completions")} \\
  -H {_shell(f"Authorization: Bearer {api_key}")} \\
  -H 'Content-Type: application/json' \\
  -d {_shell(json.dumps(body, ensure_ascii=False))}"""
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


def management_snippets(*, base_url: str, api_key: str) -> list[Snippet]:
    """Returns how to list a team's keys with a management key, in curl, Python and by fetch.

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


def _quoted(text: str) -> str:
    """Returns the text as a literal that Python and JavaScript read alike."""
    return json.dumps(text)


def _shell(text: str) -> str:
    """Returns the text as one word of a POSIX shell, always in quotes."""
    word = shlex.quote(text)
    return word if word.startswith("'") else f"'{word}'"
