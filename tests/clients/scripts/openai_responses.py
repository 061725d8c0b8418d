"""OpenAI's Python SDK, Responses."""

import json

from cases import (
    ADD,
    CITY,
    CITY_SCHEMA,
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
TOOL = {"type": "function", "name": "add", "parameters": NUMBERS, "strict": True}


@case
def chat():
    answer = client.responses.create(model=MODEL, input=SEVEN_TOKENS)
    check(answer.output_text and answer.status == "completed", answer)
    check(answer.usage.output_tokens == 7 and answer.usage.cost > 0, answer.usage)


@case
def stream():
    with client.responses.stream(model=MODEL, input=SEVEN_TOKENS) as events:
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        final = events.get_final_response()
    check(len(deltas) > 1 and "".join(deltas) == final.output_text, deltas)
    check(final.usage.output_tokens == 7, final.usage)


@case
def tools():
    conversation = [{"role": "user", "content": ADD}]
    answer = client.responses.create(model=MODEL, input=conversation, tools=[TOOL])
    (call,) = [item for item in answer.output if item.type == "function_call"]
    arguments = json.loads(call.arguments)
    check((call.name, arguments) == ("add", {"a": 2, "b": 3}), call)
    result = {
        "type": "function_call_output",
        "call_id": call.call_id,
        "output": str(sum(arguments.values())),
    }
    answer = client.responses.create(
        model=MODEL, input=[*conversation, *answer.output, result], tools=[TOOL]
    )
    check(answer.output_text == SUM, answer)


@case
def schema():
    form = {"type": "json_schema", "name": "city", "schema": CITY_SCHEMA, "strict": True}
    answer = client.responses.create(model=MODEL, input=CITY, text={"format": form})
    check(is_city(answer.output_text), answer)


@case
def error():
    ask = client.responses.create
    raises(NotFoundError, lambda: ask(model="no-such-model", input="Hello!"))
    stranger = OpenAI(base_url=f"{URL}/v1", api_key=WRONG_KEY)
    raises(AuthenticationError, lambda: stranger.responses.create(model=MODEL, input="Hello!"))


@case
def cancel():
    with client.responses.create(model=MODEL, input=LONG, stream=True) as events:
        for number, _event in enumerate(events):
            if number == 8:
                break


main()
