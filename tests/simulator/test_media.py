"""Pictures and videos."""

import struct
import time
import zlib
from base64 import b64decode

import pytest

from tests.simulator.conftest import send_form

PICTURE = {"model": "sim-image", "prompt": "a fox", "size": "1280x1280"}
VIDEO = {"model": "sim-video", "prompt": "a fox runs", "fps": 30, "with_audio": True}


def pixels(data):
    """The width and height of a PNG file, each of whose chunks is whole."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, rest = {}, data[8:]
    while rest:
        size, kind = struct.unpack(">I4s", rest[:8])
        body, (check,) = rest[8 : 8 + size], struct.unpack(">I", rest[8 + size : 12 + size])
        assert check == zlib.crc32(kind + body)
        chunks[kind], rest = body, rest[12 + size :]
    width, height, depth = struct.unpack(">IIB", chunks[b"IHDR"][:9])
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + -(-width * depth // 8))
    assert list(chunks)[-1] == b"IEND"
    return width, height


def test_pictures_are_real(sim):
    body = sim.post("/v1/images/generations", PICTURE | {"n": 2, "size": "1280x720"}).json

    assert body.keys() == {"created", "data"}
    assert isinstance(body["created"], int)
    heads = [picture["url"].partition(",")[0] for picture in body["data"]]
    assert heads == ["data:image/png;base64"] * 2
    first, second = [b64decode(picture["url"].partition(",")[2]) for picture in body["data"]]
    assert pixels(first) == pixels(second) == (1280, 720)
    assert first != second
    assert len(first) < 2000
    assert sim.entry()["units_sent"] == 2
    assert sim.entry()["params"]["size"] == "1280x720"


def test_pictures_come_as_base64_where_it_is_asked_for(sim):
    asked = PICTURE | {"response_format": "b64_json", "size": "auto"}
    (picture,) = sim.post("/images/generations", asked, "image_tokens=7").json["data"]

    assert pixels(b64decode(picture["b64_json"])) == (1024, 1024)


def test_pictures_may_count_tokens(sim):
    body = sim.post("/images/generations", PICTURE | {"n": 3}, "image_tokens=7").json

    assert body["usage"] == {
        "input_tokens": 2,
        "input_tokens_details": {"text_tokens": 2, "image_tokens": 0},
        "output_tokens": 21,
        "total_tokens": 23,
    }


def test_a_picture_is_edited(sim):
    form = {"model": "sim-image", "prompt": "a fox", "n": "2", "size": "64x32"}
    files = [("image[]", b"\x89PNG\r\n--x"), ("image[]", b"2"), ("mask", b"3")]
    answer = send_form(sim, "/v1/images/edits", form, files, "image_tokens=10")

    assert len(answer.json["data"]) == 2
    assert answer.json["usage"]["input_tokens_details"] == {"text_tokens": 2, "image_tokens": 300}
    assert answer.json["usage"]["output_tokens"] == 20
    params = sim.entry()["params"]
    assert (params["n"], params["files"], params["file_bytes"]) == ("2", 3, 11)
    assert "prompt" not in params
    assert send_form(sim, "/images/edits", form, []).error["param"] == "image"
    assert send_form(sim, "/images/edits", form, files, "status=503").status == 503


@pytest.mark.parametrize(
    "body", [b"", b"--x\r\n", b'--x\r\nContent-Disposition: form-data; name="a"']
)
def test_a_broken_form_is_refused(sim, body):
    headers = {"content-type": "multipart/form-data; boundary=x"}

    assert sim.post("/images/edits", body, headers=headers).status == 400
    assert sim.post("/images/edits", {"model": "sim"}).status == 400


def test_fewer_pictures_or_none_can_come(sim):
    assert len(sim.post("/images/generations", PICTURE | {"n": 3}, "images=1").json["data"]) == 1
    assert sim.post("/images/generations", PICTURE, "image=failed").status == 500
    assert sim.post("/images/generations", PICTURE, "status=429").status == 429


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": " "},
        {"prompt": 5},
        {"n": 0},
        {"model": None},
        {"size": "big"},
        {"size": "0x5"},
        {"size": "99999x5"},
    ],
)
def test_malformed_picture_requests_are_refused(sim, fields):
    assert sim.post("/images/generations", PICTURE | fields).status == 400


def test_a_video_is_ready_in_its_time(sim, monkeypatch):
    order = sim.post("/v1/videos/generations", VIDEO, "video_s=60").json
    assert set(order) == {"id", "status"}
    assert order["status"] == "processing"

    assert sim.get(f"/v1/videos/{order['id']}").json == order
    monkeypatch.setattr("simulator.videos.time.time", later(61))
    ready = sim.get(f"/videos/{order['id']}").json
    assert ready["status"] == "completed"
    assert ready["video_url"].endswith(".mp4")


@pytest.mark.parametrize(("end", "status"), [("failed", "failed"), ("stuck", "processing")])
def test_a_video_may_fail_or_never_end(sim, end, status):
    order = sim.post("/videos/generations", VIDEO, f"video_s=0&video={end}").json
    shown = sim.get(f"/videos/{order['id']}").json

    assert shown["status"] == status
    assert "video_url" not in shown
    assert ("error" in shown) == (status == "failed")


def test_a_video_may_be_made_from_a_picture(sim):
    picture = {"model": "sim-video", "image_url": "https://example.com/a.png"}

    assert sim.post("/videos/generations", picture).status == 200
    assert sim.post("/videos/generations", {"model": "sim-video"}).error["param"] == "prompt"


def test_asking_for_a_video_can_fail_too(sim):
    order = sim.post("/videos/generations", VIDEO).json

    assert sim.get("/videos/none").status == 404
    assert sim.get(f"/videos/{order['id']}", "status=502").status == 502
    assert sim.get("/videos/generations").status == 405


def later(seconds):
    moment = time.time() + seconds
    return lambda: moment
