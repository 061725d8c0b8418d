"""LiteLLM, with us as an OpenAI-compatible provider."""

import json

import litellm
from cases import (
    ADD,
    CITY,
    CITY_SCHEMA,
    EMBEDDING_MODEL,
    KEY,
    LONG,
    MODEL,
    NUMBERS,
    SEVEN_TOKENS,
    SUM,
    URL,
    WRONG_KEY,
    case,
    check,
    is_city,
    main,
    raises,
)

HERE = {"api_base": f"{URL}/v1", "api_key": KEY}
TOOL = {"type": "function", "function": {"name": "add", "parameters": NUMBERS}}


def ask(text, model=MODEL, **fields):
    """Return the answer to one message."""
    messages = fields.pop("messages", [{"role": "user", "content": text}])
    return litellm.completion(f"openai/{model}", messages, **(HERE | fields))


@case
def chat():
    answer = ask(SEVEN_TOKENS)
    check(answer.choices[0].message.content and answer.usage.completion_tokens == 7, answer)


@case
def stream():
    chunks = list(ask(SEVEN_TOKENS, stream=True, stream_options={"include_usage": True}))
    whole = litellm.stream_chunk_builder(chunks)
    check(len(chunks) > 2 and whole.choices[0].message.content, chunks)
    check(whole.usage.completion_tokens == 7, whole.usage)


@case
def tools():
    messages = [{"role": "user", "content": ADD}]
    message = ask("", messages=messages, tools=[TOOL]).choices[0].message
    (call,) = message.tool_calls
    arguments = json.loads(call.function.arguments)
    check((call.function.name, arguments) == ("add", {"a": 2, "b": 3}), call)
    result = {"role": "tool", "tool_call_id": call.id, "content": str(sum(arguments.values()))}
    answer = ask("", messages=[*messages, message.model_dump(), result], tools=[TOOL])
    check(answer.choices[0].message.content == SUM, answer)


@case
def schema():
    form = {"name": "city", "schema": CITY_SCHEMA, "strict": True}
    answer = ask(CITY, response_format={"type": "json_schema", "json_schema": form})
    check(is_city(answer.choices[0].message.content), answer)


@case
def error():
    raises(litellm.NotFoundError, lambda: ask("Hello!", model="no-such-model"))
    raises(litellm.AuthenticationError, lambda: ask("Hello!", api_key=WRONG_KEY))


@case
def cancel():
    stream = ask(LONG, stream=True)
    for _chunk in range(5):
        next(stream)
    stream.completion_stream.close()


@case
def embeddings():
    answer = litellm.embedding(f"openai/{EMBEDDING_MODEL}", ["one", "two"], **HERE)
    check(len(answer.data) == 2 and isinstance(answer.data[1]["embedding"][0], float), answer)


main()
