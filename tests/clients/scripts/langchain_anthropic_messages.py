"""LangChain's ChatAnthropic."""

import langchain_shared
from anthropic import AuthenticationError, NotFoundError
from cases import KEY, MODEL, URL, WRONG_KEY, case, main, raises
from langchain_anthropic import ChatAnthropic


def build(model=MODEL, key=KEY, **options):
    """Return a chat model."""
    return ChatAnthropic(model=model, api_key=key, base_url=URL, **options)


langchain_shared.register(build)


@case
def error():
    raises(NotFoundError, lambda: build("no-such-model").invoke("Hello!"))
    raises(AuthenticationError, lambda: build(key=WRONG_KEY).invoke("Hello!"))


main()
