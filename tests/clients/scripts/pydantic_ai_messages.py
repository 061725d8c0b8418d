"""Pydantic AI's AnthropicModel, which asks models that it doesn't know for JSON by a tool."""

import pydantic_ai_shared
from cases import KEY, MODEL, URL, WRONG_KEY, main
from pydantic_ai import ToolOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider


def build(model=MODEL, key=KEY):
    """Return a model."""
    return AnthropicModel(model, provider=AnthropicProvider(base_url=URL, api_key=key))


pydantic_ai_shared.register(build, WRONG_KEY, ToolOutput)
main()
