"""The models list as coding agents read it: Anthropic's form for Claude Code, and Codex's own."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from api.catalogue.snapshot import ModelEntry

Json = dict[str, Any]

_EFFORTS = (
    ("low", "Answers quickly, with little reasoning."),
    ("medium", "Weighs speed against depth."),
    ("high", "Reasons at length before it answers."),
)
# What Codex tells a model in place of its own prompt, once the list has an entry for the model.
_INSTRUCTIONS = (Path(__file__).parent / "codex_instructions.md").read_text("utf-8")


def anthropic_list(models: Iterable[ModelEntry]) -> Json:
    """Return the list as Anthropic's API gives it, which has chat models only."""
    data = [anthropic_entry(model) for model in models if model.kind == "chat"]
    return {
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def anthropic_entry(model: ModelEntry, name: str | None = None) -> Json:
    """Return a model as Anthropic's API gives it; `name` is the alias that it was asked for by."""
    created_at = datetime.fromtimestamp(model.created, UTC)
    return {
        "type": "model",
        "id": name or model.name,
        "display_name": model.title or model.name,
        "created_at": created_at.isoformat().replace("+00:00", "Z"),
        "max_input_tokens": model.context_tokens,
        "max_tokens": model.max_output_tokens,
    }


def codex_list(models: Iterable[ModelEntry]) -> list[Json]:
    """Return the chat models as Codex reads them; without this it warns of unknown models."""
    chat = [model for model in models if model.kind == "chat"]
    return [_codex_entry(model, priority) for priority, model in enumerate(chat)]


def _codex_entry(model: ModelEntry, priority: int) -> Json:
    can_reason = "reasoning" in model.features
    levels = [{"effort": effort, "description": text} for effort, text in _EFFORTS]
    images = ["image"] if "image" in model.input_modalities else []
    return {
        "slug": model.name,
        "display_name": model.title or model.name,
        "description": model.description or None,
        "default_reasoning_level": "medium" if can_reason else None,
        "supported_reasoning_levels": levels if can_reason else [],
        "shell_type": "shell_command",
        "visibility": "list",
        "supported_in_api": True,
        "priority": priority,
        "upgrade": None,
        "base_instructions": _INSTRUCTIONS,
        "supports_reasoning_summaries": can_reason,
        "support_verbosity": False,
        "default_verbosity": None,
        "apply_patch_tool_type": "freeform",
        "truncation_policy": {"mode": "tokens", "limit": 10_000},
        "supports_parallel_tool_calls": True,
        "context_window": model.context_tokens,
        "experimental_supported_tools": [],
        "input_modalities": ["text", *images],
    }
