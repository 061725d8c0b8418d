"""Instructor over Anthropic's SDK: by tools, and streamed in parts."""

import instructor
import instructor_shared
from anthropic import Anthropic
from cases import KEY, MODEL, URL, WRONG_KEY, main


def build(key=KEY):
    """Return a client whose retries are its own."""
    return instructor.from_anthropic(Anthropic(base_url=URL, api_key=key))


instructor_shared.register(build, MODEL, WRONG_KEY)
main()
