"""Z.AI's Python SDK, on the mount with its paths."""

import json
import time

from cases import (
    ADD,
    CITY,
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
from zai import ZaiClient
from zai.core import APIAuthenticationError, APIStatusError

client = ZaiClient(base_url=f"{URL}/api/paas/v4", api_key=KEY)
ASYNC_SECONDS = 60  # until a chat that is answered later is there
TOOL = {"type": "function", "function": {"name": "add", "parameters": NUMBERS}}


def ask(text, **fields):
    """Return the answer to one message."""
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(**{"model": MODEL, "messages": messages, **fields})


@case
def chat():
    answer = ask(SEVEN_TOKENS)
    check(answer.choices[0].message.content and answer.usage.completion_tokens == 7, answer)
    later = client.chat.asyncCompletions
    messages = [{"role": "user", "content": SEVEN_TOKENS}]
    task = later.create(model=MODEL, messages=messages)
    deadline = time.monotonic() + ASYNC_SECONDS
    while task.task_status == "PROCESSING" and time.monotonic() < deadline:
        time.sleep(0.3)
        task = later.retrieve_completion_result(task.id)
    check(task.task_status == "SUCCESS" and task.usage.completion_tokens == 7, task)


@case
def stream():
    chunks = list(ask(SEVEN_TOKENS, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    check(len(chunks) > 2 and text, chunks)


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
    # It knows no schemas. A provider that speaks Messages knows no JSON mode and is told to answer
    # in JSON, which the simulator doesn't understand: here it is told what to answer.
    city = {"name": "Arbon", "population": 14_000}
    plan = json.dumps({"turns": [{"text": json.dumps(city)}]})
    prompt = f"{CITY} Answer in JSON. <simulate>{plan}</simulate>"
    answer = ask(prompt, response_format={"type": "json_object"})
    check(is_city(answer.choices[0].message.content), answer)


@case
def error():
    caught = raises(APIStatusError, lambda: ask("Hello!", model="no-such-model"))
    check("no-such-model" in str(caught), caught)
    stranger = ZaiClient(base_url=f"{URL}/api/paas/v4", api_key=WRONG_KEY)
    messages = [{"role": "user", "content": "Hello!"}]
    raises(
        APIAuthenticationError,
        lambda: stranger.chat.completions.create(model=MODEL, messages=messages),
    )


@case
def cancel():
    chunks = ask(LONG, stream=True)
    for number, _chunk in enumerate(chunks):
        if number == 5:
            break
    chunks.response.close()


@case
def embeddings():
    answer = client.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"])
    check(len(answer.data) == 2 and isinstance(answer.data[1].embedding[0], float), answer)


main()
