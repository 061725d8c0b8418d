"""Pictures and videos."""

import time

import pytest

PICTURE = {"model": "sim-image", "prompt": "a fox", "size": "1280x1280"}
VIDEO = {"model": "sim-video", "prompt": "a fox runs", "fps": 30, "with_audio": True}


def test_each_picture_has_an_address(sim):
    body = sim.post("/v1/images/generations", PICTURE | {"n": 2}).json

    assert isinstance(body["created"], int)
    assert [picture["url"].rpartition("/")[2] for picture in body["data"]] == ["1.png", "2.png"]
    assert sim.entry()["units_sent"] == 2
    assert sim.entry()["params"]["size"] == "1280x1280"


def test_fewer_pictures_or_none_can_come(sim):
    assert len(sim.post("/images/generations", PICTURE | {"n": 3}, "images=1").json["data"]) == 1
    assert sim.post("/images/generations", PICTURE, "image=failed").status == 500
    assert sim.post("/images/generations", PICTURE, "status=429").status == 429


@pytest.mark.parametrize("fields", [{"prompt": " "}, {"prompt": 5}, {"n": 0}, {"model": None}])
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
