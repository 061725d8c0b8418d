"""OpenAI's Agents SDK in its default mode, Responses."""

from agents import (
    Agent,
    Runner,
    function_tool,
    set_default_openai_client,
    set_tracing_disabled,
)
from cases import (
    ADD,
    CITY,
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
)
from openai import AsyncOpenAI, AuthenticationError, NotFoundError
from pydantic import BaseModel

set_tracing_disabled(True)


class City(BaseModel):
    """A city."""

    name: str
    population: int


def build(key=KEY, model=MODEL, **options):
    """Return an agent."""
    set_default_openai_client(AsyncOpenAI(base_url=f"{URL}/v1", api_key=key))
    return Agent(name="assistant", instructions="Be brief.", model=model, **options)


@case
async def chat():
    answer = await Runner.run(build(), SEVEN_TOKENS)
    usage = answer.raw_responses[0].usage
    check(answer.final_output and usage.output_tokens == 7, usage)


@case
async def stream():
    run = Runner.run_streamed(build(), SEVEN_TOKENS)
    events = [event async for event in run.stream_events()]
    deltas = [
        event.data.delta
        for event in events
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
    ]
    check(len(deltas) > 1 and "".join(deltas) == run.final_output, deltas)


@case
async def tools():
    seen = []

    @function_tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        seen.append((a, b))
        return a + b

    answer = await Runner.run(build(tools=[add]), ADD)
    check(seen == [(2, 3)] and answer.final_output == SUM, answer)


@case
async def schema():
    answer = await Runner.run(build(output_type=City), CITY)
    check(isinstance(answer.final_output, City), answer)


@case
async def error():
    expected = (
        (NotFoundError, {"model": "no-such-model"}),
        (AuthenticationError, {"key": WRONG_KEY}),
    )
    for kind, options in expected:
        try:
            await Runner.run(build(**options), "Hello!")
        except kind:
            continue
        raise AssertionError(f"no {kind.__name__}")


@case
async def cancel():
    run = Runner.run_streamed(build(), LONG)
    count = 0
    async for _event in run.stream_events():
        count += 1
        if count == 8:
            run.cancel()


main()
