"""One stack for all tests of this folder; each test makes customers of its own."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.stack import Stack, running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("stack"), workers=2) as started:
        yield started


@pytest.fixture
def customer(stack: Stack, request: pytest.FixtureRequest) -> tuple[str, str]:
    """A customer of this test's own with ten dollars: e-mail and API key."""
    email = f"{request.node.name.replace('[', '-').replace(']', '')[:60]}@example.com".lower()
    return email, stack.customer(email)


@pytest.fixture
def openai(stack: Stack, customer: tuple[str, str]) -> OpenAI:
    return OpenAI(base_url=f"{stack.base_url}/v1", api_key=customer[1], max_retries=0)
