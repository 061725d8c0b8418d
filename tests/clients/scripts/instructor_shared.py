"""The cases of Instructor, which are the same over every SDK. It knows structured answers only."""

from cases import CITY, case, check
from pydantic import BaseModel


class City(BaseModel):
    """A city."""

    name: str
    population: int


def request(model):
    """Return the arguments of a request for a city."""
    messages = [{"role": "user", "content": CITY}]
    return {"model": model, "messages": messages, "max_tokens": 1000}


def ask_for_city(client, model):
    """Ask for a city, and fail where none comes."""
    city = client.create(response_model=City, max_retries=0, **request(model))
    check(isinstance(city, City), city)


def register(build, model, wrong_key):
    """Register the cases; `build` returns a client."""

    @case
    def tools():
        ask_for_city(build(), model)

    @case
    def stream():
        parts = list(build().create_partial(response_model=City, **request(model)))
        check(parts and parts[-1].name, parts)

    @case
    def error():
        try:
            build(wrong_key).create(response_model=City, max_retries=0, **request(model))
        except Exception as caught:
            check("Invalid API key" in str(caught), caught)
        else:
            raise AssertionError("a wrong key was taken")
