"""OpenAI's Python SDK, chat completions."""

import json

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
from openai import AuthenticationError, NotFoundError, OpenAI

client = OpenAI(base_url=f"{URL}/v1", api_key=KEY)
TOOL = {"type": "function", "function": {"name": "add", "parameters": NUMBERS, "strict": True}}


def user(text):
    """Return a conversation of one message."""
    return [{"role": "user", "content": text}]


@case
def models():
    names = [model.id for model in client.models.list()]
    check(MODEL in names, names)


@case
def chat():
    answer = client.chat.completions.create(model=MODEL, messages=user(SEVEN_TOKENS))
    check(answer.choices[0].message.content and answer.choices[0].finish_reason == "stop", answer)
    check(answer.usage.completion_tokens == 7 and answer.usage.cost > 0, answer.usage)


@case
def stream():
    with client.chat.completions.stream(
        model=MODEL, messages=user(SEVEN_TOKENS), stream_options={"include_usage": True}
    ) as events:
        deltas = [event.delta for event in events if event.type == "content.delta"]
        final = events.get_final_completion()
    check(len(deltas) > 1 and "".join(deltas) == final.choices[0].message.content, deltas)
    check(final.usage.completion_tokens == 7, final.usage)


@case
def tools():
    messages = user(ADD)
    answer = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL])
    message = answer.choices[0].message
    (call,) = message.tool_calls
    arguments = json.loads(call.function.arguments)
    check((call.function.name, arguments) == ("add", {"a": 2, "b": 3}), call)
    result = {"role": "tool", "tool_call_id": call.id, "content": str(sum(arguments.values()))}
    answer = client.chat.completions.create(
        model=MODEL, messages=[*messages, message, result], tools=[TOOL]
    )
    check(answer.choices[0].message.content == SUM, answer)


@case
def schema():
    form = {"name": "city", "schema": CITY_SCHEMA, "strict": True}
    answer = client.chat.completions.create(
        model=MODEL,
        messages=user(CITY),
        response_format={"type": "json_schema", "json_schema": form},
    )
    check(is_city(answer.choices[0].message.content), answer)


@case
def error():
    ask = client.chat.completions.create
    raises(NotFoundError, lambda: ask(model="no-such-model", messages=user("Hello!")))
    stranger = OpenAI(base_url=f"{URL}/v1", api_key=WRONG_KEY)
    raises(AuthenticationError, stranger.models.list)


@case
def cancel():
    with client.chat.completions.create(model=MODEL, messages=user(LONG), stream=True) as events:
        for number, _chunk in enumerate(events):
            if number == 5:
                break


@case
def embeddings():
    answer = client.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"])
    check(len(answer.data) == 2 and isinstance(answer.data[1].embedding[0], float), answer)


main()
