"""The behaviour script: where it stands, what it accepts, and that its documents are complete."""

from pathlib import Path

import pytest

import simulator
from simulator import script as grammar
from simulator.errors import SimulatedError
from simulator.script import KEYS, read_script, split_model


@pytest.mark.parametrize(
    ("model", "name", "text"),
    [
        ("glm-5.2", "glm-5.2", ""),
        ("glm-5.2?tokens=5", "glm-5.2", "tokens=5"),
        ("sim:tokens=5&pace_ms=1", "sim", "tokens=5&pace_ms=1"),
        ("deepseek-r1:free", "deepseek-r1:free", ""),
        ("org/model:free?tokens=5", "org/model:free", "tokens=5"),
    ],
)
def test_the_model_name_may_carry_a_script(model, name, text):
    assert split_model(model) == (name, text)


def test_later_places_win_key_by_key():
    script = read_script("sim?tokens=1&pace_ms=7", "tokens=2&first_ms=3", {"tokens": 4})

    assert (script.tokens, script.pace_ms, script.first_ms) == (4, 7, 3)
    assert script.text == "pace_ms=7&first_ms=3&tokens=4"


@pytest.mark.parametrize(
    "field", ["done=0&usage=early,forced", {"done": False, "usage": ["early", "forced"]}]
)
def test_the_body_field_is_a_string_or_an_object(field):
    script = read_script("sim", "", field)

    assert not script.done
    assert (script.usage.place, script.usage.forced) == ("early", True)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("speed=9", "speed"),
        ("tokens=-1", "tokens"),
        ("tokens=1e3", "tokens"),
        ("tokens=1_0", "tokens"),
        ("tokens=", "tokens"),
        ("done=maybe", "done"),
        ("status=200", "status"),
        ("body=poem", "body"),
        ("usage=late,early", "usage"),
        ("usage=odd", "usage"),
        ("video_s=-1", "video_s"),
        ("text=x", "text"),
        ("tokens", "simulate"),
    ],
)
def test_an_unknown_key_or_a_bad_value_is_refused_by_name(sim, text, key):
    answer = sim.chat(text)

    assert answer.status == 400
    assert answer.error["param"] == key
    assert answer.error["type"] == "invalid_request_error"


def test_the_simulate_field_is_nothing_else(sim):
    assert sim.chat(simulate=[1]).error["param"] == "simulate"


def test_the_earliest_break_counts():
    assert read_script("sim?cut_after=5&stall_after=3", "", None).stop == ("stall", 3)
    assert read_script("sim", "", None).stop is None


def test_a_bad_script_raises_the_same_twice():
    for _ in range(2):
        with pytest.raises(SimulatedError):
            read_script("sim?tokens=x", "", None)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_key_is_documented(key):
    readme = (Path(simulator.__file__).parent / "README.md").read_text()

    assert f"{key}=" in (grammar.__doc__ or "")
    assert f"`{key}=" in readme
