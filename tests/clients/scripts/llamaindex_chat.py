"""LlamaIndex: OpenAILike, a function agent, and OpenAI's embeddings."""

from cases import (
    ADD,
    CITY,
    EMBEDDING_MODEL,
    KEY,
    LONG,
    MODEL,
    SEVEN_TOKENS,
    SUM,
    URL,
    WRONG_KEY,
    case,
    check,
    main,
    raises,
)
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai_like import OpenAILike
from openai import AuthenticationError, NotFoundError
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    population: int


def build(model=MODEL, key=KEY):
    """Return a model."""
    return OpenAILike(
        model=model,
        api_key=key,
        api_base=f"{URL}/v1",
        is_chat_model=True,
        is_function_calling_model=True,
        should_use_structured_outputs=True,
        context_window=200_000,
    )


def said(text):
    """Return a conversation of one message."""
    return [ChatMessage(role="user", content=text)]


@case
def chat():
    answer = build().chat(said(SEVEN_TOKENS))
    check(answer.message.content and answer.raw.usage.completion_tokens == 7, answer)


@case
def stream():
    parts = list(build().stream_chat(said(SEVEN_TOKENS)))
    check(len(parts) > 2 and parts[-1].message.content, parts)


@case
async def tools():
    seen = []

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        seen.append((a, b))
        return a + b

    answer = await FunctionAgent(tools=[add], llm=build()).run(ADD)
    check(seen == [(2, 3)] and str(answer) == SUM, answer)


@case
def schema():
    city = build().as_structured_llm(City).chat(said(CITY)).raw
    check(isinstance(city, City), city)


@case
def error():
    raises(NotFoundError, lambda: build("no-such-model").chat(said("Hello!")))
    raises(AuthenticationError, lambda: build(key=WRONG_KEY).chat(said("Hello!")))


@case
def cancel():
    parts = build().stream_chat(said(LONG))
    for _part in range(5):
        next(parts)
    parts.close()


@case
def embeddings():
    model = OpenAIEmbedding(model_name=EMBEDDING_MODEL, api_key=KEY, api_base=f"{URL}/v1")
    vectors = model.get_text_embedding_batch(["one", "two"])
    check(len(vectors) == 2 and isinstance(vectors[1][0], float), vectors)


main()
