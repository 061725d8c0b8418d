"""The cases of LangChain, which are the same with every provider's chat model."""

from cases import ADD, CITY, LONG, SEVEN_TOKENS, SUM, case, check
from langchain.agents import create_agent
from langchain_core.tools import tool
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    population: int


def register(build):
    """Register the cases; `build` returns a chat model."""

    @case
    def chat():
        answer = build().invoke(SEVEN_TOKENS)
        check(answer.text and answer.usage_metadata["output_tokens"] == 7, answer)

    @case
    def stream():
        chunks = list(build().stream(SEVEN_TOKENS))
        whole = sum(chunks[1:], chunks[0])
        check(len(chunks) > 2 and whole.text, chunks)
        check(whole.usage_metadata["output_tokens"] == 7, whole.usage_metadata)

    @case
    def tools():
        seen = []

        @tool
        def add(a: int, b: int) -> int:
            """Add two numbers."""
            seen.append((a, b))
            return a + b

        agent = create_agent(build(), tools=[add])
        answer = agent.invoke({"messages": [{"role": "user", "content": ADD}]})
        check(seen == [(2, 3)] and answer["messages"][-1].text == SUM, answer)

    @case
    def schema():
        city = build().with_structured_output(City, method="json_schema").invoke(CITY)
        check(isinstance(city, City) and city.name, city)

    @case
    def cancel():
        stream = build().stream(LONG)
        for _chunk in range(5):
            next(stream)
        stream.close()
