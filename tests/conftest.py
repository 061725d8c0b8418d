"""What all tests share: a small known cast, and a database whose migrations' rows survive.

Alice owns a team. Bob is a developer in it, besides his own. Charlie is the outsider, with a team
of his own. Each team has a credit account; Alice, Bob and Charlie each have an inference key.
"""

import gc
import os
import random
import re
import ssl
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.db import connections
from django.test import Client, TransactionTestCase, override_settings
from pytest_django import DjangoDbBlocker
from xdist.scheduler import LoadFileScheduling

from accounts.models import ApiKey, Membership, Role, Team, User
from billing.ledger import postings
from billing.models import CreditAccount
from tests.cast import IssuedKey, issue, member, signed_in
from tests.stack import Stack, running
from tests.support import database, sampling

# Tests of whole stacks wait for real processes: run first, they do so beside the others, and the
# short files come last, so that the workers end together.
SLOW_FIRST = ("faults", "browser", "acceptance", "e2e")
# What shares a stack is run by one worker, in a row; everything else file by file.
SHARES_A_STACK = {
    r"tests/acceptance/.*[-\[](weatmood|weryai|answira|zai(?!-org)|glm5)[-\]]": "the services",
    r"tests/(acceptance/|e2e/(?!test_make_run))": "the default service",
    r"tests/browser/": "the site",
    # Two halves, as one worker would be the last with all of them.
    r"tests/faults/test_(?!chaos)[a-k]": "the faults to k",
    r"tests/faults/test_[l-z]": "the faults from l",
}


class Scheduling(LoadFileScheduling):
    """Gives workers the tests of a stack, or of a file, at once."""

    def _split_scope(self, nodeid: str) -> str:
        for pattern, unit in SHARES_A_STACK.items():
            if re.match(pattern, nodeid):
                return unit
        return str(super()._split_scope(nodeid))


# CI runs ten times as many examples. Each run chooses its own, from one seed.
hypothesis.settings.register_profile("here", deadline=None, print_blob=True, max_examples=50)
hypothesis.settings.register_profile(
    "ci", deadline=None, print_blob=True, derandomize=False, max_examples=500
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed of all property tests and samples, which workers get from the controller;
    collect without the garbage collector, which would only go over what is loaded again and again.
    """
    gc.disable()  # until what is loaded and collected is frozen
    given = getattr(config, "workerinput", {}).get("hypothesis_seed", config.option.hypothesis_seed)
    seed = str(random.SystemRandom().getrandbits(64) if given is None else given)
    config.option.hypothesis_seed = seed
    sampling.seed_choices(seed)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of xdist the run's seed."""
    node.workerinput["hypothesis_seed"] = node.config.option.hypothesis_seed


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tell how a failed run's examples and samples can be had again."""
    if terminalreporter.stats.get("failed"):
        seed = config.option.hypothesis_seed
        terminalreporter.line(f"The same examples and samples again: --hypothesis-seed={seed}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Return how tests are given to several workers."""
    return Scheduling(config, log) if config.option.dist == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the slow folders first."""
    folder = Path(__file__).parent
    items.sort(key=lambda item: _place(item.path.relative_to(folder).parts[0]))


def pytest_collection_finish() -> None:
    """Spare the collector of cycles what is loaded for good (measured: a sixth of all time)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def _place(folder: str) -> int:
    return SLOW_FIRST.index(folder) if folder in SLOW_FIRST else len(SLOW_FIRST)


@pytest.fixture(scope="session")
def django_db_setup(
    request: pytest.FixtureRequest,
    django_test_environment: None,
    django_db_modify_db_settings: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[None]:
    """Give the worker a database whose rows, the migrations' (plans, the platform's accounts), come
    back after each test that commits.
    """
    with django_db_blocker.unblock():
        if database.has_template():
            database.clone()
        else:
            request.getfixturevalue("django_db_setup")
        database.keep_rows()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            TransactionTestCase, "_fixture_teardown", lambda _case: database.restore_rows()
        )
        yield
    with django_db_blocker.unblock():
        connections.close_all()


@pytest.fixture(scope="session", autouse=True)
def _no_certificates() -> Iterator[None]:
    """Spare each HTTP client the certificates of the world, 30 ms: nothing here speaks TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl.SSLContext, "load_verify_locations", lambda *_arguments, **_names: None)
        yield


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The default service for all tests that need no settings of their own: every mount, every
    model, two web processes, frequent rounds about videos where Celery runs. Each test makes
    customers of its own; what others see is put back.
    """
    folder = tmp_path_factory.mktemp("stack")
    with running(folder, workers=2, VIDEO_POLL_SECONDS="0.5") as started:
        yield started


@pytest.fixture
def customer(stack: Stack, request: pytest.FixtureRequest) -> tuple[str, str]:
    """A customer of the stack, of this test's own, with ten dollars: email and API key."""
    # Tests of one name in several files may share a stack.
    name = re.sub(r"[^a-z0-9]+", "-", f"{request.node.path.stem}-{request.node.name}".lower())
    email = f"{name[:50]}-{zlib.crc32(request.node.nodeid.encode()):08x}@example.com"
    return email, stack.customer(email)


@pytest.fixture
def openai(stack: Stack, customer: tuple[str, str]) -> Any:
    """OpenAI's SDK as that customer."""
    from openai import OpenAI  # noqa: PLC0415 - a second to load, which few tests need

    return OpenAI(base_url=f"{stack.base_url}/v1", api_key=customer[1], max_retries=0)


@pytest.fixture(scope="session", autouse=True)
def _quick_settings() -> Iterator[None]:
    """Spare the tests 190 ms a password, and each client the look at all static files, 80 ms.

    Staff show no second factor, and upstreams are on this machine or in catalogue files, except in
    the tests of that.
    """
    with override_settings(
        STAFF_SECOND_FACTOR=False,
        UPSTREAM_HOSTS=["*", "127.0.0.1", "maker", "simulator"],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        WHITENOISE_AUTOREFRESH=True,
    ):
        yield


@pytest.fixture(autouse=True)
def _own_cache(settings: Any, request: pytest.FixtureRequest) -> None:
    """Give each test a cache of its own, so that limits of sign-in begin anew."""
    backend = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": request.node.nodeid}}


@pytest.fixture
def alice(db: None) -> User:
    """The owner of `alices_team`."""
    return member("alice@example.com", "alices secret", "Alice")[0]


@pytest.fixture
def bob(alices_team: Team) -> User:
    """A developer in Alice's team, with a personal team besides."""
    user, _ = member("bob@example.com", "bobs secret", "Bob")
    Membership.objects.create(user=user, team=alices_team, role=Role.DEVELOPER)
    return user


@pytest.fixture
def charlie(db: None) -> User:
    """The outsider."""
    return member("charlie@example.com", "charlies secret", "Charlie")[0]


@pytest.fixture
def alices_team(alice: User) -> Team:
    """Alice's personal team, which Bob is in too where the test asks for him."""
    return alice.teams.get()


@pytest.fixture
def charlies_team(charlie: User) -> Team:
    """Charlie's personal team."""
    return charlie.teams.get()


@pytest.fixture
def alices_account(alices_team: Team) -> CreditAccount:
    """The credit account of Alice's team, empty."""
    return postings.open_account(alices_team)


@pytest.fixture
def charlies_account(charlies_team: Team) -> CreditAccount:
    """The credit account of Charlie's team, empty."""
    return postings.open_account(charlies_team)


@pytest.fixture
def alices_key(alices_team: Team, alice: User) -> IssuedKey:
    """An inference key that Alice made."""
    return issue(alices_team, alice, "Alice's key")


@pytest.fixture
def bobs_key(alices_team: Team, bob: User) -> IssuedKey:
    """An inference key of Alice's team that Bob made."""
    return issue(alices_team, bob, "Bob's key")


@pytest.fixture
def charlies_key(charlies_team: Team, charlie: User) -> IssuedKey:
    """An inference key of the outsider's team."""
    return issue(charlies_team, charlie, "Charlie's key")


@pytest.fixture
def management_key(alices_team: Team, alice: User) -> IssuedKey:
    """A management key of Alice's team."""
    return issue(alices_team, alice, "Automation", scope=ApiKey.Scope.MANAGEMENT)


@pytest.fixture
def staff(db: None) -> Client:
    """A browser in which a superuser is signed in."""
    return signed_in(User.objects.create_superuser("staff@example.com", "staffs secret"))
