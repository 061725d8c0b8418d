"""Pydantic AI's OpenAIChatModel."""

import pydantic_ai_shared
from cases import KEY, MODEL, URL, WRONG_KEY, main
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider


def build(model=MODEL, key=KEY):
    """Return a model."""
    return OpenAIChatModel(model, provider=OpenAIProvider(base_url=f"{URL}/v1", api_key=key))


pydantic_ai_shared.register(build, WRONG_KEY)
main()
