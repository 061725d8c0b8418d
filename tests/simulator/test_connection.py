"""What only a real connection shows: under gunicorn, over sockets, and with OpenAI's client."""

import socket
import struct
import threading
import time
import urllib.request

import openai
import pytest

STREAM = {"model": "sim", "stream": True, "messages": [{"role": "user", "content": "x"}]}


def read_all(connection):
    """Everything until the end, and the error that the end was."""
    data = b""
    try:
        while piece := connection.recv(65536):
            data += piece
    except ConnectionError as error:
        return data, error
    return data, None


def read_until(connection, mark):
    data = b""
    while mark not in data:
        data += connection.recv(65536)
    return data


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
def test_a_disconnect_is_noticed_at_once(server, how):
    request_id = f"leave-{how}"
    connection = server.connect(STREAM | {"simulate": "pace_ms=20&tokens=500"}, request_id)
    read_until(connection, b"fox ")
    left_at = time.time()
    if how == "half_close":
        connection.shutdown(socket.SHUT_WR)
    else:
        if how == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    entry = server.ended(request_id)
    connection.close()
    assert entry["end"] == "client_closed"
    assert entry["closed_at"] - left_at < 2  # of the ten seconds that it would have taken
    assert 2 <= entry["tokens_sent"] < 40


def test_a_disconnect_before_the_first_byte_is_noticed(server):
    connection = server.connect(STREAM | {"simulate": "first_ms=60000"}, "early")
    time.sleep(0.1)
    connection.close()
    entry = server.ended("early")

    assert (entry["end"], entry["first_at"], entry["tokens_sent"]) == ("client_closed", None, 0)


def test_a_client_that_never_reads_holds_the_stream_back_until_it_leaves(server):
    script = "tokens=1000000&chunk_tokens=100&chunks_per_write=10"
    connection = server.connect(STREAM | {"simulate": script}, "unread")
    sent = [-1, server.journal("unread")["tokens_sent"]]
    until = time.monotonic() + 30
    # The buffers between the two fill first, and the kernel lets them grow.
    while sent[-1] == 0 or sent[-1] != sent[-2]:
        assert time.monotonic() < until
        time.sleep(0.3)
        sent.append(server.journal("unread")["tokens_sent"])

    held = sent[-1]
    assert held < 1_000_000
    connection.close()
    # What a last wake-up may have squeezed in before the close was seen is one write.
    assert held <= server.ended("unread")["tokens_sent"] <= held + 1000


def test_a_stall_stays_open_until_the_client_leaves(server):
    connection = server.connect(STREAM | {"simulate": "stall_after=2&comments=1"}, "stall")
    read_until(connection, b": waiting")
    assert server.journal("stall")["end"] is None
    connection.close()

    assert server.ended("stall")["tokens_sent"] == 2


def test_a_cut_leaves_the_chunked_body_without_its_end(server):
    connection = server.connect(STREAM | {"simulate": "cut_after=3"}, "cut")
    data, error = read_all(connection)

    assert error is None
    assert b"map " in data
    assert b"oak " not in data
    assert not data.endswith(b"0\r\n\r\n")
    assert server.ended("cut")["tokens_sent"] == 3


def test_a_plain_cut_is_shorter_than_its_length(server):
    connection = server.connect(STREAM | {"simulate": "cut_after=8", "stream": False}, "short")
    head, _, body = read_all(connection)[0].partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split()[0])

    assert 0 < len(body) < length


def test_a_reset_arrives_as_one_after_the_tokens(server):
    connection = server.connect(STREAM | {"simulate": "reset_after=3"}, "reset")
    data, error = read_all(connection)

    assert isinstance(error, ConnectionResetError)
    assert b"map " in data
    assert server.ended("reset")["end"] == "reset"


def test_a_dropped_connection_has_no_byte(server):
    connection = server.connect(STREAM | {"simulate": "drop=1"}, "drop")

    assert read_all(connection)[0] == b""
    assert server.ended("drop")["end"] == "dropped"


def test_streams_keep_their_pace_side_by_side(server):
    body = STREAM | {"simulate": "tokens=26&pace_ms=20"}

    def run(number):
        connection = server.connect(body, f"pace-{number}")
        read_until(connection, b"[DONE]")
        connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(20):
        entry = server.ended(f"pace-{number}")
        assert 0.48 <= entry["closed_at"] - entry["first_at"] < 1.0
        assert (entry["end"], entry["tokens_sent"]) == ("completed", 26)


def test_a_connection_is_kept_for_the_next_call(server):
    connection = server.connect(STREAM, "keep-1")
    read_until(connection, b"0\r\n\r\n")
    connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: sim\r\n\r\n")

    assert b'"sim-video"' in read_until(connection, b"]}")
    connection.close()


def test_nothing_stays_open(server):
    with urllib.request.urlopen(f"{server.url}/healthz") as answer:
        assert b'"open_calls":0' in answer.read()


def test_openais_own_client_understands_it(server):
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)
    messages = [{"role": "user", "content": "x"}]
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

    plain = client.chat.completions.create(model="sim?tokens=2", messages=messages)
    stream = client.chat.completions.create(
        model="sim?tokens=2", messages=messages, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    called = client.chat.completions.create(model="sim", messages=messages, tools=[tool])

    assert plain.choices[0].message.content == "sun fox "
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "sun fox "
    assert chunks[-1].usage.completion_tokens == 2
    assert called.choices[0].message.tool_calls[0].function.name == "f"
    assert client.completions.create(model="sim", prompt="x").choices[0].text
    assert client.images.generate(model="sim", prompt="x").data[0].url
    with pytest.raises(openai.RateLimitError):
        client.chat.completions.create(model="sim?status=429", messages=messages)
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="sim?drop=1", messages=messages)
