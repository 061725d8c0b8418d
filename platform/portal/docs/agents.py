"""Coding agents and editors, and how to set up each with the reader's address, key and model.

`tests/clients` drives those that run in a terminal with the same settings, and
`tests/portal/test_agent_pages.py` compares the two.
"""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import slugify
from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from portal.docs.reader import ANY_MODEL, Reader

INSTALL = _("Install it, unless you already have it:")
RUN = _("Run this in a terminal:")
SAVE = _("Add this to {place}:")
ENTER = _("Open {place} and enter:")

# A window that every model for agents has, for a reader without a catalogue.
ANY_CONTEXT_TOKENS = 128_000


@dataclass(frozen=True)
class Setup:
    """What an agent is set up with. `origin` is the service's address, without a slash at the end.

    `provider` and `variable` name the service in configuration files and in the environment.
    """

    origin: str
    key: str
    model: str
    context_tokens: int
    service: str

    @property
    def base_url(self) -> str:
        """The base URL of programs that speak an API of OpenAI's."""
        return f"{self.origin}/v1"

    @property
    def provider(self) -> str:
        """The service's name in lower-case letters, digits and dashes."""
        return slugify(self.service) or "gateway"

    @property
    def variable(self) -> str:
        """The environment variable for the key."""
        name = self.provider.replace("-", "_").upper()
        return f"{'_' if name[0].isdigit() else ''}{name}_KEY"


@dataclass(frozen=True)
class Step:
    """A step of the setup: a sentence, and the code or the `fields` (label, value) to copy."""

    english: str
    text: str = ""
    language: str = "shell"
    place: str = ""
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def instruction(self) -> SafeString:
        """The sentence in the reader's language."""
        return format_html(gettext(self.english), place=format_html("<code>{}</code>", self.place))


@dataclass(frozen=True)
class Agent:
    """A program, whose page is at `/docs/agents/<slug>`.

    `switch_app` is its name in links that CC Switch opens, if it knows the program.
    """

    slug: str
    name: str
    steps: Callable[[Setup], list[Step]]
    switch_app: str = ""

    def switch_url(self, setup: Setup) -> str:
        """Return the link that adds the service to CC Switch; empty if it can't.

        Its format: "Deep Link Protocol" in the manual of github.com/farion1231/cc-switch.
        """
        if not self.switch_app:
            return ""
        fields = {
            "resource": "provider",
            "app": self.switch_app,
            "name": setup.service,
            "homepage": setup.origin,
            "endpoint": setup.origin if self.switch_app == "claude" else setup.base_url,
            "apiKey": setup.key,
            "model": setup.model,
        }
        return f"ccswitch://v1/import?{urlencode(fields, quote_via=quote)}"


def setup_of(reader: Reader) -> Setup:
    """Return what the reader sets an agent up with: a coding model, else the first of text."""
    found = next(iter(reader.coding_models or reader.chat_models), None)
    return Setup(
        origin=reader.origin,
        key=reader.key,
        model=found.name if found else ANY_MODEL,
        context_tokens=found.entry.context_tokens if found else ANY_CONTEXT_TOKENS,
        service=reader.snapshot.service.name,
    )


def _commands(setting: dict[str, str], *command: str) -> str:
    """Return commands of a POSIX shell that set the environment and start a program."""
    lines = [f"export {name}={_word(value)}" for name, value in setting.items()]
    return "\n".join([*lines, " ".join(_word(word) for word in command)])


def _word(text: str) -> str:
    return shlex.quote(text) if text else '""'


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _claude_code(setup: Setup) -> list[Step]:
    setting = {
        "ANTHROPIC_BASE_URL": setup.origin,
        "ANTHROPIC_AUTH_TOKEN": setup.key,
        "ANTHROPIC_API_KEY": "",
    }
    return [
        Step(INSTALL, "npm install -g @anthropic-ai/claude-code"),
        Step(RUN, _commands(setting, "claude", "--model", setup.model)),
    ]


def _codex(setup: Setup) -> list[Step]:
    lines = [
        f"model = {json.dumps(setup.model)}",
        f"model_provider = {json.dumps(setup.provider)}",
        "",
        f"[model_providers.{setup.provider}]",
        f"name = {json.dumps(setup.service, ensure_ascii=False)}",
        f"base_url = {json.dumps(setup.base_url)}",
        f"env_key = {json.dumps(setup.variable)}",
        'wire_api = "responses"',
    ]
    return [
        Step(INSTALL, "npm install -g @openai/codex"),
        Step(SAVE, "\n".join(lines), "toml", "~/.codex/config.toml"),
        Step(RUN, _commands({setup.variable: setup.key}, "codex")),
    ]


def _opencode(setup: Setup) -> list[Step]:
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": setup.service,
        "options": {"baseURL": setup.base_url, "apiKey": f"{{env:{setup.variable}}}"},
        "models": {setup.model: {"name": setup.model}},
    }
    model = f"{setup.provider}/{setup.model}"
    return [
        Step(INSTALL, "npm install -g opencode-ai"),
        Step(SAVE, _json({"provider": {setup.provider: provider}}), "json", "opencode.json"),
        Step(RUN, _commands({setup.variable: setup.key}, "opencode", "-m", model)),
    ]


def _aider(setup: Setup) -> list[Step]:
    setting = {"OPENAI_API_BASE": setup.base_url, "OPENAI_API_KEY": setup.key}
    return [
        Step(INSTALL, "python -m pip install aider-chat"),
        Step(RUN, _commands(setting, "aider", "--model", f"openai/{setup.model}")),
    ]


def _cline(setup: Setup) -> list[Step]:
    command = ["cline", "auth", "-p", "openai", "-k", setup.key]
    fields = (("Base URL", setup.base_url), ("API Key", setup.key), ("Model ID", setup.model))
    return [
        Step(ENTER, place="Cline > Settings > API Provider: OpenAI Compatible", fields=fields),
        Step(RUN, _commands({}, *command, "-b", setup.base_url, "-m", setup.model)),
    ]


def _qwen_code(setup: Setup) -> list[Step]:
    setting = {
        "OPENAI_BASE_URL": setup.base_url,
        "OPENAI_API_KEY": setup.key,
        "OPENAI_MODEL": setup.model,
    }
    return [
        Step(INSTALL, "npm install -g @qwen-code/qwen-code"),
        Step(RUN, _commands(setting, "qwen", "--auth-type", "openai")),
    ]


def _cursor(setup: Setup) -> list[Step]:
    fields = (
        ("OpenAI API Key", setup.key),
        ("Override OpenAI Base URL", setup.base_url),
        ("Add Custom Model", setup.model),
    )
    return [Step(ENTER, place="Cursor Settings > Models > API Keys", fields=fields)]


def _zed(setup: Setup) -> list[Step]:
    model = {
        "name": setup.model,
        "display_name": setup.model,
        "max_tokens": setup.context_tokens,
        "capabilities": {"tools": True},
    }
    provider = {"api_url": setup.base_url, "available_models": [model]}
    setting = {"language_models": {"openai_compatible": {setup.service: provider}}}
    return [
        Step(SAVE, _json(setting), "json", "~/.config/zed/settings.json"),
        Step(
            ENTER,
            place=f"Agent Settings > LLM Providers > {setup.service}",
            fields=(("API key", setup.key),),
        ),
    ]


AGENTS = (
    Agent("claude-code", "Claude Code", _claude_code, "claude"),
    Agent("codex", "Codex", _codex, "codex"),
    Agent("opencode", "opencode", _opencode, "opencode"),
    Agent("aider", "aider", _aider),
    Agent("cline", "Cline", _cline),
    Agent("qwen-code", "Qwen Code", _qwen_code),
    Agent("cursor", "Cursor", _cursor),
    Agent("zed", "Zed", _zed),
)


class AgentText:
    """An agent as the templates show it to a reader."""

    def __init__(self, agent: Agent, reader: Reader) -> None:
        self._agent = agent
        self._setup = setup_of(reader)
        self.name = agent.name

    @property
    def steps(self) -> list[Step]:
        """The steps, with the reader's address, key and model."""
        return self._agent.steps(self._setup)

    @property
    def switch_url(self) -> str:
        """The link that adds the service to CC Switch; empty if it can't."""
        return self._agent.switch_url(self._setup)
