"""Instructor over OpenAI's SDK: by tools, by JSON schema, and streamed in parts."""

import instructor
import instructor_shared
from cases import KEY, MODEL, URL, WRONG_KEY, case, main
from openai import OpenAI


def build(key=KEY, mode=instructor.Mode.TOOLS):
    """Return a client whose retries are its own."""
    return instructor.from_openai(OpenAI(base_url=f"{URL}/v1", api_key=key), mode=mode)


instructor_shared.register(build, MODEL, WRONG_KEY)


@case
def schema():
    instructor_shared.ask_for_city(build(mode=instructor.Mode.JSON_SCHEMA), MODEL)


main()
