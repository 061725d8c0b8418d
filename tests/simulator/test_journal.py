"""The journal: what it tells, what it never holds, and its bounds."""

import time

from simulator import app
from simulator.journal import Entry, Journal, journal

BODY = {
    "model": "sim?tokens=4",
    "messages": [{"role": "user", "content": "a secret prompt"}],
    "temperature": 0.5,
    "max_tokens": 9,
    "simulate": "first_ms=30",
}


def entry(**fields):
    usual = {"request_id": "", "method": "POST", "path": "/", "authorized": False}
    return Entry(**usual | {"header_names": []} | fields)


def test_an_entry_tells_the_whole_call(sim):
    before = time.time()
    sim.post("/v1/chat/completions", BODY, "chunk_tokens=2", headers={"x-request-id": "abc"})
    found = sim.get("/v1/journal?request_id=abc").json[0]
    assert found.pop("answer_id").startswith("req_sim_")
    times = [found.pop(name) for name in ("started_at", "first_at", "closed_at")]

    assert before <= times[0] < times[0] + 0.03 <= times[1] <= times[2] <= time.time()
    assert found == {
        "request_id": "abc",
        "method": "POST",
        "path": "/v1/chat/completions",
        "authorized": False,
        "header_names": ["x-request-id", "x-simulate"],
        "model": "sim?tokens=4",
        "stream": False,
        "script": "tokens=4&chunk_tokens=2&first_ms=30",
        "params": {
            "model": "sim?tokens=4",
            "temperature": 0.5,
            "max_tokens": 9,
            "messages": 1,
            "prompt_bytes": 15,
        },
        "prompt_tokens": 4,
        "tokens_sent": 4,
        "units_sent": 0,
        "status": 200,
        "end": "completed",
    }


def test_what_it_billed_is_an_export_and_sums_by_day(sim):
    sim.call("DELETE", "/v1/journal", b"")
    answer = sim.post("/v1/chat/completions", BODY, "chunk_tokens=2")
    sim.post("/v1/chat/completions", BODY, "status=500")
    header, line, end = sim.get("/v1/usage.csv").body.decode().split("\n")
    fields = dict(zip(header.split(","), line.split(","), strict=True))
    request_id = answer.headers["x-request-id"]
    at = fields.pop("created_at")
    expected = {"model": "sim", "input_tokens": "4", "output_tokens": "4"}
    assert fields == {"request_id": request_id, **expected, "cost_usd": "0.000012000"}
    assert end == ""

    (bucket,) = sim.get("/v1/organization/usage/completions?start_time=0").json["data"]
    assert bucket["start_time"] <= time.time()
    (result,) = bucket["results"]
    assert (result["num_model_requests"], result["output_tokens"]) == (1, 4)
    (bucket,) = sim.get("/v1/organization/costs?start_time=0").json["data"]
    assert [each["amount"]["value"] for each in bucket["results"]] == [4e-6, 8e-6]
    (row,) = sim.get("/v1/activity").json["data"]
    assert (row["date"], row["model"], row["prompt_tokens"]) == (at[:10], "sim", 4)
    assert sim.get("/v1/organization/costs").status == 400


def test_it_holds_no_secret_and_no_prompt(sim):
    headers = {"authorization": "Bearer sk-secret", "cookie": "a=secret"}
    sim.post("/chat/completions", BODY, headers=headers)
    sim.post("/completions", {"model": "sim", "prompt": "a secret prompt"}, headers=headers)
    told = sim.get("/journal")

    assert b"secret" not in told.body
    assert [entry["authorized"] for entry in told.json] == [True, True]


def test_the_key_counts_only_as_a_bearer_token(sim):
    for value in ("Basic abc", "Bearer ", "Bearer"):
        sim.post("/chat/completions", BODY, headers={"authorization": value})

    assert [entry["authorized"] for entry in sim.get("/journal").json] == [False] * 3


def test_refused_calls_are_in_it_too(sim):
    sim.post("/chat/completions", b"{")
    sim.post("/chat/completions", {"model": "sim", "messages": []})
    sim.get("/nowhere")

    assert [entry["status"] for entry in sim.get("/journal").json] == [400, 400, 404]
    assert sim.get("/journal").json[1]["model"] == "sim"


def test_a_call_is_in_it_while_it_runs(sim, monkeypatch):
    seen = []

    async def look(exchange):
        seen.extend((entry.path, entry.end, entry.closed_at) for entry in journal.find())

    monkeypatch.setitem(app._ROUTES, ("GET", "/look"), look)
    sim.get("/look")
    assert seen == [("/look", None, None)]


def test_filters_select_and_the_limit_takes_the_newest(sim):
    for number in range(5):
        sim.chat(model=f"m{number % 2}?tokens={number}")

    def models(query):
        return [entry["model"] for entry in sim.get(f"/journal?{query}").json]

    assert models("model=m1") == ["m1?tokens=1", "m1?tokens=3"]
    assert models("model=m1%3Ftokens%3D3") == ["m1?tokens=3"]
    assert models("limit=2") == ["m1?tokens=3", "m0?tokens=4"]
    assert models("request_id=other") == []
    assert sim.get("/journal?limit=x").status == 400


def test_emptying_forgets_the_calls_and_the_counted_failures(sim):
    assert sim.chat("fail_first=1").status == 500
    assert sim.call("DELETE", "/journal", b"").json == {"deleted": 1}
    assert sim.get("/journal").json == []
    assert sim.chat("fail_first=1").status == 500


def test_a_large_field_is_kept_by_its_size(sim):
    tool = {"type": "function", "function": {"name": "f", "description": "x" * 5000}}
    sim.chat(tools=[tool], user="sam")

    assert sim.entry()["params"]["tools"]["bytes"] > 5000
    assert sim.entry()["params"]["user"] == "sam"


def test_it_is_bounded():
    small = Journal(max_entries=3)
    for number in range(5):
        small.add(entry(request_id=str(number)))

    assert [found.request_id for found in small.find()] == ["2", "3", "4"]


def test_the_first_end_stands():
    call = entry()
    call.close("completed")
    closed_at = call.closed_at
    call.close("client_closed")

    assert (call.end, call.closed_at) == ("completed", closed_at)
