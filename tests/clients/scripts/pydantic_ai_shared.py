"""The cases of Pydantic AI, which are the same with every provider's model."""

from cases import ADD, CITY, LONG, SEVEN_TOKENS, SUM, case, check
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, NativeOutput


class City(BaseModel):
    """A city."""

    name: str
    population: int


def register(build, wrong_key, schema_mode=NativeOutput):
    """Register the cases; `build` returns a model by its name and the key."""

    @case
    async def chat():
        answer = await Agent(build()).run(SEVEN_TOKENS)
        check(answer.output and answer.usage.output_tokens == 7, answer.usage)

    @case
    async def stream():
        async with Agent(build()).run_stream(SEVEN_TOKENS) as answer:
            parts = [part async for part in answer.stream_text(delta=True, debounce_by=None)]
        check(len(parts) > 2 and answer.usage.output_tokens == 7, parts)

    @case
    async def tools():
        seen = []
        agent = Agent(build())

        @agent.tool_plain
        def add(a: int, b: int) -> int:
            """Add two numbers."""
            seen.append((a, b))
            return a + b

        answer = await agent.run(ADD)
        check(seen == [(2, 3)] and answer.output == SUM, answer)

    @case
    async def schema():
        answer = await Agent(build(), output_type=schema_mode(City)).run(CITY)
        check(isinstance(answer.output, City), answer)

    @case
    async def error():
        for status, options in ((404, {"model": "no-such-model"}), (401, {"key": wrong_key})):
            try:
                await Agent(build(**options)).run("Hello!")
            except ModelHTTPError as caught:
                check(caught.status_code == status, caught)
            else:
                raise AssertionError(f"no error {status}")

    @case
    async def cancel():
        async with Agent(build()).run_stream(LONG) as answer:
            count = 0
            async for _part in answer.stream_text(delta=True, debounce_by=None):
                count += 1
                if count == 5:
                    break
            if hasattr(answer, "cancel"):
                await answer.cancel()
