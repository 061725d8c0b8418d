"""A webhook's URL leads to the public internet or nowhere, whatever it resolves to."""

import socket
import time
from typing import Any

import pytest

from api.webhooks import client
from api.webhooks.client import WebhookClient, problem_with
from tests.api.webhooks.receiver import Receiver

REFUSED = [
    "http://example.com/hook",
    "https://127.0.0.1/",
    "https://localhost/",
    "https://10.0.0.8/",
    "https://192.168.1.1:8443/",
    "https://172.16.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://100.64.0.1/",
    "https://[::1]/",
    "https://[fe80::1]/",
    "https://[fc00::1]/",
    "https://[::ffff:10.0.0.8]/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[2002:a00:8::]/",
    "https://0/",
    "https://127.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://017700000001/",
    "https://metadata.google.internal/",
    "https://db.local/",
    "https://vllm/",
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "https://example.com/#part",
    "https://example.com:99999/",
    "https://exam ple.com/",
    "https://example.com/\n",
    "https://169.254.169\u3002254/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "//example.com/",
    "example.com",
    "https://",
    "",
    "https://example.com/" + "a" * 500,
    "https://" + "a" * 64 + ".example.com/",
]


@pytest.mark.parametrize("url", REFUSED, ids=range(len(REFUSED)))
def test_these_are_refused(url: str) -> None:
    assert problem_with(url)


@pytest.mark.parametrize("url", ["https://example.com/hook?a=b", "https://8.8.8.8:8443/"])
def test_these_are_taken(url: str) -> None:
    assert problem_with(url) == ""


def test_hosts_of_the_operators_are_not_the_customers(settings: Any) -> None:
    settings.UPSTREAM_HOSTS = ["*", "vllm", "10.0.0.8", "127.0.0.1"]
    assert problem_with("https://vllm/")
    assert problem_with("https://10.0.0.8/")
    assert problem_with("http://127.0.0.1/")


def test_loopback_is_for_development(settings: Any) -> None:
    settings.WEBHOOKS_ALLOW_LOOPBACK = True
    assert problem_with("http://127.0.0.1:5000/") == ""
    assert problem_with("http://10.0.0.8/")
    assert problem_with("http://example.com/")


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.8", "169.254.169.254", "fd00::1", "::ffff:127.0.0.1"]
)
def test_a_name_that_resolves_to_a_private_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch, settings: Any, address: str
) -> None:
    settings.UPSTREAM_HOSTS = ["*", "rebound.example"]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: found)
    connected: list[Any] = []
    monkeypatch.setattr(
        socket, "create_connection", lambda place, *_a, **_k: connected.append(place)
    )
    with WebhookClient() as sender:
        answer = sender.post("https://rebound.example/", b"{}", {})
    assert (answer.status, answer.problem) == (None, "address")
    assert connected == []


def test_the_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second look-up could give another address."""
    answers = iter(["8.8.8.8", "127.0.0.1"])
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *_a, **_k: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), 443))],
    )
    connected: list[str] = []

    def connect(place: tuple[str, int], *_arguments: Any, **_options: Any) -> None:
        connected.append(place[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    with WebhookClient() as sender:
        answer = sender.post("https://rebound.example/", b"{}", {})
    assert (answer.problem, connected) == ("unreachable", ["8.8.8.8"])


@pytest.mark.parametrize("host", ["example.com..", "a" * 64 + ".example.com"], ids=["dots", "long"])
def test_a_name_that_cannot_be_looked_up_is_not_reached(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Python raises UnicodeError for it, which must not end the round for everyone's deliveries."""
    monkeypatch.setattr(client, "problem_with", lambda _url: "")
    with WebhookClient() as sender:
        assert sender.post(f"https://{host}/", b"{}", {}).problem == "unreachable"


def test_a_redirect_is_an_answer(receiver: Receiver) -> None:
    receiver.statuses = [302]
    with WebhookClient() as sender:
        answer = sender.post(receiver.url, b"{}", {})
    assert (answer.status, answer.is_success, len(receiver.got)) == (302, False, 1)


def test_of_an_answer_only_the_beginning_is_kept(receiver: Receiver) -> None:
    receiver.body = b"\0\xffsk-proj-abcdefghijklmnopqrstuvwxyz0123456789 " + b"x" * 10**6
    with WebhookClient() as sender:
        answer = sender.post(receiver.url, b"{}", {})
    assert answer.status == 200
    assert len(answer.excerpt) == client.EXCERPT_CHARACTERS
    assert "\0" not in answer.excerpt
    assert "abcdefghijkl" not in answer.excerpt


def test_an_answer_that_trickles_is_cut_off(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte would renew a timeout of reads; it lasts for a minute here."""
    monkeypatch.setattr(client, "TOTAL_SECONDS", 1.0)
    receiver.trickles = True
    began_at = time.monotonic()
    with WebhookClient() as sender:
        answer = sender.post(receiver.url, b"{}", {})
    assert answer.status == 200
    assert time.monotonic() - began_at < 45


def test_nobody_there(settings: Any) -> None:
    settings.WEBHOOKS_ALLOW_LOOPBACK = True
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/"
        with WebhookClient() as sender:
            assert sender.post(url, b"{}", {}).problem == "unreachable"
