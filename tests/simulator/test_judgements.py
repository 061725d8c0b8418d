"""Reranking and moderation."""

import pytest

RANK = {
    "model": "sim-rank",
    "query": "red fox",
    "documents": ["a cat", "the red fox", {"title": "fox", "text": "one"}],
}


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v2/rerank"])
def test_documents_are_ranked_by_shared_words(sim, path):
    body = sim.post(path, RANK | {"return_documents": True}).json

    assert body.pop("id").startswith("rerank-sim_")
    assert body == {
        "model": "sim-rank",
        "results": [
            {"index": 1, "relevance_score": 1.0, "document": {"text": "the red fox"}},
            {"index": 2, "relevance_score": 0.5, "document": {"text": "fox one"}},
            {"index": 0, "relevance_score": 0.0, "document": {"text": "a cat"}},
        ],
        "meta": {
            "api_version": {"version": "2"},
            "billed_units": {"search_units": 1},
            "tokens": {"input_tokens": 8},  # 30 bytes
        },
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    }
    assert sim.entry()["units_sent"] == 1
    assert sim.entry()["params"]["documents"] == 3


def test_a_search_unit_is_a_hundred_documents(sim):
    body = sim.post("/rerank", RANK | {"documents": ["x"] * 101, "top_n": 2}).json

    assert [result["index"] for result in body["results"]] == [0, 1]
    assert body["meta"]["billed_units"] == {"search_units": 2}
    scripted = sim.post("/rerank", RANK, "prompt_tokens=500").json
    assert scripted["usage"]["total_tokens"] == 500
    assert sim.post("/rerank", RANK, "usage=missing").json.keys() == {"id", "model", "results"}


@pytest.mark.parametrize("fields", [{"documents": []}, {"query": None}, {"top_n": 0}])
def test_malformed_rankings_are_refused(sim, fields):
    assert sim.post("/rerank", RANK | fields).status == 400
    assert sim.post("/rerank", RANK, "status=503").status == 503


def moderate(sim, value, script=""):
    return sim.post("/v1/moderations", {"model": "sim-judge", "input": value}, script)


def test_a_category_is_flagged_by_its_word(sim):
    body = moderate(sim, ["Stop the violence", "a fox"]).json
    violent, harmless = body["results"]

    assert body.keys() == {"id", "model", "results"}
    assert (violent["flagged"], harmless["flagged"]) == (True, False)
    assert [name for name, hit in violent["categories"].items() if hit] == ["violence"]
    assert violent["category_scores"]["violence"] > 0.5 > violent["category_scores"]["hate"]
    assert violent["categories"].keys() == harmless["category_scores"].keys()
    assert len(violent["categories"]) == 13


def test_parts_are_judged_together(sim):
    parts = [
        {"type": "text", "text": "hate"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    (result,) = moderate(sim, parts).json["results"]

    assert result["categories"]["hate"]
    assert result["category_applied_input_types"]["violence"] == ["text", "image"]
    assert result["category_applied_input_types"]["hate"] == ["text"]


def test_moderations_tell_usage_only_where_it_is_forced(sim):
    assert moderate(sim, "12345", "usage=forced").json["usage"] == {
        "prompt_tokens": 2,
        "total_tokens": 2,
    }


@pytest.mark.parametrize("value", [None, [], [{"type": "audio"}], [1]])
def test_malformed_moderations_are_refused(sim, value):
    assert moderate(sim, value).status == 400
