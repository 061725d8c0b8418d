"""Two stacks for all acceptance tests: the default service, which `tests/conftest.py` starts, and
one that becomes each of the five. Tests that change what others see put it back.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.services import EMAIL, Service, open_service
from tests.stack import Stack, running


@pytest.fixture(scope="session")
def default(stack: Stack) -> Service:
    """The default service with a customer who meets no limits."""
    return open_service(stack)


@pytest.fixture(scope="session")
def _changing_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("service"), catalogue="weatmood") as started:
        yield started


@pytest.fixture(scope="session")
def service(_changing_stack: Stack, request: pytest.FixtureRequest) -> Service:
    """The service of a catalogue: `@pytest.mark.parametrize("service", [...], indirect=True)`.

    Being of the session, it lets pytest run one service's tests of all modules in a row.
    """
    if _changing_stack.catalogue != request.param:
        _changing_stack.load_catalogue(request.param)
    return open_service(_changing_stack)


@pytest.fixture(scope="session")
def management_key(default: Service) -> str:
    """A management key of the default service's customer."""
    arguments = (EMAIL, "--scope", "management", "--json")
    return str(json.loads(default.stack.manage("create_key", *arguments))["api_key"])


@pytest.fixture
def manager(default: Service, management_key: str) -> Iterator[httpx.Client]:
    """A client with the management key."""
    with default.client(management_key) as client:
        yield client


@pytest.fixture(scope="session")
def poor_key(default: Service) -> str:
    """The key of a new customer, poor@example.com, with a thousandth of a cent."""
    return default.stack.customer("poor@example.com", "0.00001")


@pytest.fixture
def http(default: Service) -> Iterator[httpx.Client]:
    """A client of the default service's root, whose calls bring the key."""
    with default.client() as client:
        yield client


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run each service's tests in a row, whatever their module: a switch takes two seconds."""

    def service_of(item: pytest.Item) -> str:
        callspec = getattr(item, "callspec", None)
        return str(callspec.params.get("service", "")) if callspec else ""

    folder = Path(__file__).parent
    places = [index for index, item in enumerate(items) if folder in item.path.parents]
    ordered = sorted((items[place] for place in places), key=service_of)
    for place, item in zip(places, ordered, strict=True):
        items[place] = item
