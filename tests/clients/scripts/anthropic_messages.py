"""Anthropic's Python SDK."""

from anthropic import Anthropic, AuthenticationError, NotFoundError
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

client = Anthropic(base_url=URL, api_key=KEY)
TOOL = {"name": "add", "input_schema": NUMBERS}


def request(text, **fields):
    """Return the arguments of a request with one message."""
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "max_tokens": 1000, "messages": messages, **fields}


@case
def models():
    names = [model.id for model in client.models.list()]
    check(MODEL in names, names)


@case
def chat():
    answer = client.messages.create(**request(SEVEN_TOKENS))
    check(answer.content[0].text and answer.stop_reason == "end_turn", answer)
    check(answer.usage.output_tokens == 7 and answer.usage.cost > 0, answer.usage)
    counted = client.messages.count_tokens(
        model=MODEL, messages=[{"role": "user", "content": "Hello!"}]
    )
    check(counted.input_tokens > 0, counted)


@case
def stream():
    with client.messages.stream(**request(SEVEN_TOKENS)) as events:
        texts = list(events.text_stream)
        final = events.get_final_message()
    check(len(texts) > 1 and "".join(texts) == final.content[0].text, texts)
    check(final.usage.output_tokens == 7, final.usage)


@case
def tools():
    asked = request(ADD, tools=[TOOL])
    answer = client.messages.create(**asked)
    check(answer.stop_reason == "tool_use", answer)
    (call,) = [block for block in answer.content if block.type == "tool_use"]
    check((call.name, call.input) == ("add", {"a": 2, "b": 3}), call)
    total = str(sum(call.input.values()))
    result = {"type": "tool_result", "tool_use_id": call.id, "content": total}
    asked["messages"] += [
        {"role": "assistant", "content": answer.content},
        {"role": "user", "content": [result]},
    ]
    answer = client.messages.create(**asked)
    check(answer.content[0].text == SUM, answer)


@case
def schema():
    form = {"format": {"type": "json_schema", "schema": CITY_SCHEMA}}
    answer = client.messages.create(**request(CITY, output_config=form))
    check(is_city(answer.content[0].text), answer)


@case
def error():
    asked = request("Hello!") | {"model": "no-such-model"}
    raises(NotFoundError, lambda: client.messages.create(**asked))
    stranger = Anthropic(base_url=URL, api_key=WRONG_KEY)
    raises(AuthenticationError, lambda: stranger.messages.create(**request("Hello!")))


@case
def cancel():
    with client.messages.create(**request(LONG, max_tokens=4000), stream=True) as events:
        for number, _event in enumerate(events):
            if number == 8:
                break


main()
