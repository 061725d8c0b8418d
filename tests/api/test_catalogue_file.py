"""A catalogue file is checked as a whole: every problem is named, with its place."""

from pathlib import Path

import pytest

from api.catalogue.check import find_catalogue, read_catalogue
from api.catalogue.file import Document
from api.catalogue.reader import CatalogueError

VALID = """
[service]
name = "Shop"
key_prefix = "sk-shop-"
contact_email = "help@shop.example"

[[plans]]
name = "default"
title = "Default"
requests_per_minute = 60
tokens_per_minute = 120_000
is_default = true

[[plans]]
name = "large"
title = "Large"
requests_per_minute = 600
tokens_per_minute = 1_200_000

[[upstreams]]
name = "maker"
base_url = "${MAKER_URL}/v1"
idle_timeout_seconds = 30

[[models]]
name = "alpha"
aliases = ["a", "first"]
context_tokens = 1000
max_output_tokens = 500
features = ["tools", "reasoning"]
sampling_parameters = ["temperature"]
refused_parameters = ["n", "plugins.web+response_format.json_schema"]
allowed_parameters = ["service_tier", "plugins.web"]
default_max_tokens = 100
default_temperature = 0.7
prices = { input = "0.70", cached_input = "0.07", output = "2.50" }
cost = { input = "0.35" }
routes = [{ upstream = "maker", upstream_model = "maker/alpha" }, { upstream = "maker" }]

[[models]]
name = "picture"
kind = "image"
output_modalities = ["image"]
image_sizes = ["1280x1280"]
prices = { image = "0.015" }
routes = [{ upstream = "maker" }]
"""
ENVIRONMENT = {"MAKER_URL": "http://maker:9000/"}


def read(folder: Path, text: str) -> Document:
    path = folder / "shop.toml"
    path.write_text(text)
    return read_catalogue(path, lambda name: ENVIRONMENT.get(name, ""))


def problems_in(folder: Path, text: str) -> list[str]:
    with pytest.raises(CatalogueError) as caught:
        read(folder, text)
    return caught.value.problems


def changed(*edits: tuple[str, str]) -> str:
    text = VALID
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def test_a_correct_file_is_read_with_its_defaults_and_exact_prices(tmp_path: Path) -> None:
    document = read(tmp_path, VALID)
    alpha, picture = document.models
    assert (alpha.prices.input, alpha.prices.cached_input) == (700_000_000, 70_000_000)
    assert (alpha.cost.input, alpha.cost.output, alpha.prices.reasoning) == (
        350_000_000,
        None,
        None,
    )
    assert [route.upstream_model for route in alpha.routes] == ["maker/alpha", "alpha"]
    assert [route.max_tokens_field for route in alpha.routes] == ["max_tokens"] * 2
    assert alpha.allowed_parameters == ["service_tier", "plugins.web"]
    assert picture.allowed_parameters == []
    assert picture.prices.image == 15_000_000
    assert document.upstreams[0].idle_timeout_seconds == 30


def test_variables_of_a_base_url_are_read_from_the_environment(tmp_path: Path) -> None:
    assert read(tmp_path, VALID).upstreams[0].base_url == "http://maker:9000/v1"


ALPHA, PICTURE = 'models[0] "alpha": ', 'models[1] "picture": '

CASES = [
    # the shape: unknown, missing, of another type
    (('name = "Shop"', ""), "service.name: is missing"),
    (('name = "Shop"', 'name = "Shop"\ncolour = 1'), "service.colour: is not a key of this table"),
    (
        ("max_output_tokens = 500", "max_output_token = 500\nmax_output_tokens = 500"),
        f"{ALPHA}max_output_token: is not a key of this table; did you mean max_output_tokens?",
    ),
    (
        ("context_tokens = 1000", 'context_tokens = "1000"'),
        f"{ALPHA}context_tokens: expected `int`",
    ),
    (("context_tokens = 1000", "context_tokens = true"), f"{ALPHA}context_tokens: expected `int`"),
    (("context_tokens = 1000", "context_tokens = 3e9"), f"{ALPHA}context_tokens: expected `int`"),
    (
        ("context_tokens = 1000", "context_tokens = 3_000_000_000"),
        f"{ALPHA}context_tokens: expected `int` <= 2147483647",
    ),
    (("context_tokens = 1000", ""), f"{ALPHA}context_tokens: is missing; a chat model needs it"),
    (('aliases = ["a", "first"]', 'aliases = "a"'), f'{ALPHA}aliases: "a" is not a list'),
    (('prices = { image = "0.015" }', "prices = 3"), f"{PICTURE}prices: 3 is not a table"),
    (("[service]", "extra = 1\n[service]"), "extra: is not a section; there are service, plans"),
    (('title = "Large"', "title = 7"), 'plans[1] "large": title: expected `str`, got `int`'),
    (('name = "Shop"', 'name = "Sh\\u0000op"'), "service.name: holds a NUL character"),
    (("idle_timeout_seconds = 30", "idle_timeout_seconds = nan"), "idle_timeout_seconds: expected"),
    (("idle_timeout_seconds = 30", "idle_timeout_seconds = 0"), "idle_timeout_seconds: expected"),
    # words of their own
    (('features = ["tools"', 'features = ["tolls"'), f'{ALPHA}features[0]: "tolls" is none of'),
    (('["temperature"]', '["heat"]'), f'{ALPHA}sampling_parameters[0]: "heat" is none of '),
    (
        ('kind = "image"', 'kind = "poem"'),
        f'{PICTURE}kind: "poem" is none of chat, embedding, image, video, ',
    ),
    (('= ["image"]', '= ["smell"]'), f'{PICTURE}output_modalities[0]: "smell" is none of text'),
    (('= ["image"]', "= []"), f"{PICTURE}output_modalities: is empty"),
    (('["1280x1280"]', '["1280 x 1280"]'), f"{PICTURE}image_sizes[0]: "),
    (
        ('["service_tier", ', '["n+m", '),
        f'{ALPHA}allowed_parameters[0]: "n+m" is not a parameter (service_tier)',
    ),
    (('["n", ', '["n!", '), f'{ALPHA}refused_parameters[0]: "n!" is not a parameter (tools)'),
    (('"tools", "reasoning"', '"tools", "tools"'), f'{ALPHA}features[1]: "tools" is there twice'),
    (('"sk-shop-"', '"sk shop"'), 'service.key_prefix: "sk shop" is not a key prefix'),
    (('"sk-shop-"', '"sk_shop-"'), 'service.key_prefix: "sk_shop-" is not a key prefix'),
    (('"sk-shop-"', '"sk-shop"'), 'service.key_prefix: "sk-shop" is not a key prefix'),
    (('"help@shop.example"', '"help"'), 'service.contact_email: "help" is not an email address'),
    # prices
    (('"0.70"', '"-1"'), f'{ALPHA}prices.input: "-1" is a negative price'),
    (('"0.70"', '"-0.000000001"'), f"{ALPHA}prices.input: "),
    (('"0.70"', "0.70"), f'{ALPHA}prices.input: 0.7 must be a text, such as "0.70"'),
    (('"0.70"', '"0,70"'), f"{ALPHA}prices.input: '0,70' is not an amount in dollars"),
    (('"0.70"', '"0.0000000001"'), f"{ALPHA}prices.input: '0.0000000001' is not a whole number"),
    (('"0.70"', '"1000001"'), f'{ALPHA}prices.input: "1000001" is more than $1,000,000'),
    (('"0.35"', '"NaN"'), f"{ALPHA}cost.input: 'NaN' is not an amount in dollars"),
    (
        ('input = "0.70", cached_input', "cached_input"),
        f'{ALPHA}prices.input: is missing; what is free costs "0"',
    ),
    (('prices = { image = "0.015" }', ""), f"{PICTURE}prices: is missing"),
    (('{ image = "0.015" }', '{ input = "1" }'), f"{PICTURE}prices: needs a price by image"),
    (
        ('kind = "image"', 'kind = "rerank"\ncontext_tokens = 500'),
        f"{PICTURE}prices: needs a price by search_unit or by input or by request",
    ),
    (
        (
            """kind = "image"
output_modalities = ["image"]
image_sizes = ["1280x1280"]
prices = { image = "0.015" }""",
            'kind = "speech"\nprices = { request = "0" }',
        ),
        f'{PICTURE}prices.character: is missing; what is free costs "0"',
    ),
    (
        ('{ image = "0.015" }', '{ image = "0.015", effective_from = 2026-01-01T00:00:00 }'),
        f"{PICTURE}prices.effective_from: expected `datetime` with a timezone component",
    ),
    # figures that contradict each other
    (
        ("max_output_tokens = 500", "max_output_tokens = 1001"),
        f"{ALPHA}max_output_tokens: 1001 is more than the context of 1000 tokens",
    ),
    (
        ("default_max_tokens = 100", "default_max_tokens = 501"),
        f"{ALPHA}default_max_tokens: 501 is more than max_output_tokens, 500",
    ),
    (
        ("default_temperature = 0.7", "default_temperature = 2.1"),
        f"{ALPHA}default_temperature: expected `float` <= 2.0",
    ),
    # names
    (('name = "picture"', 'name = "alpha"'), 'name: "alpha" is the name of models[0] "alpha"'),
    (('name = "picture"', 'name = "a"'), f'{ALPHA}aliases[0]: "a" is models[1] "a"\'s name'),
    (('["a", "first"]', '["a", "alpha"]'), f'{ALPHA}aliases[1]: "alpha" is models[0] "alpha"'),
    (('["a", "first"]', '["a", "a"]'), f'{ALPHA}aliases[1]: "a" is there twice'),
    (
        ('name = "picture"', 'name = "picture"\naliases = ["first"]'),
        f'{PICTURE}aliases[0]: "first" is models[0] "alpha"\'s alias',
    ),
    (('["a", "first"]', '["a b"]'), f'{ALPHA}aliases[0]: "a b" is not a model\'s name'),
    (('name = "large"', 'name = "default"'), 'plans[1] "default": name: "default" is the name of'),
    # plans, upstreams, routes
    (
        ("= 1_200_000", "= 1_200_000\nis_default = true"),
        'plans[1] "large": is_default: plans[0] "default" is the default already',
    ),
    (
        ("is_default = true", 'is_default = true\n[plans.offer]\nprice = "5"'),
        'plans[0] "default": offer: the default plan is every team',
    ),
    (
        ('title = "Large"', 'title = "Large"\noffer = { price = "0.505" }'),
        'plans[1] "large": offer.price: is not a whole number of cents',
    ),
    (
        ('title = "Large"', 'title = "Large"\noffer = { price = "0.49" }'),
        'plans[1] "large": offer.price: is less than 50 cents',
    ),
    (
        ('title = "Large"', 'title = "Large"\noffer = { price = 20 }'),
        'plans[1] "large": offer.price: 20 must be a text',
    ),
    (("is_default = true", ""), "plans: none is the default"),
    (
        ("${MAKER_URL}", "${OTHER_URL}"),
        'upstreams[0] "maker": base_url: the environment variable OTHER_URL is not set',
    ),
    (("${MAKER_URL}/v1", "http://10.0.0.8/v1"), "10.0.0.8 is no host of the public internet"),
    (
        (
            'base_url = "${MAKER_URL}/v1"',
            'base_url = "${MAKER_URL}/v1"\napi_key_env = "SECRET_KEY"',
        ),
        "an environment variable that begins with UPSTREAM_",
    ),
    (("${MAKER_URL}", "ftp://maker"), "base_url: 'ftp://maker/v1' is no http or https address"),
    (("${MAKER_URL}/v1", "http://maker/v1?x=1"), "'http://maker/v1?x=1' must end with its path"),
    (("${MAKER_URL}/v1", "http://me:pw@maker/v1"), "hold no user"),
    (("${MAKER_URL}/v1", "http://maker:no/v1"), "is no address"),
    (("${MAKER_URL}/v1", "${MAKER-URL}/v1"), "is no http or https address"),
    (
        ('{ upstream = "maker" }]\n\n', '{ upstream = "mover" }]\n\n'),
        f'{ALPHA}routes[1].upstream: there is no upstream "mover"',
    ),
    (('= "maker/alpha"', '= "alpha"'), f"{ALPHA}routes[1]: is there twice"),
    (
        ('"maker/alpha"', '"maker/alpha", reasoning_dialect = "runes"'),
        f'{ALPHA}routes[0].reasoning_dialect: "runes" is none of reasoning_content',
    ),
    (('"0.015" }\nroutes = [{ upstream = "maker" }]', '"0.015" }'), f"{PICTURE}routes: is missing"),
]


@pytest.mark.parametrize(("edit", "problem"), CASES)
def test_a_problem_is_named_with_its_place(
    tmp_path: Path, edit: tuple[str, str], problem: str
) -> None:
    found = problems_in(tmp_path, changed(edit))
    assert len(found) == 1, found
    assert found[0].startswith("shop.toml: ")
    assert problem in found[0]


def test_every_problem_is_named_not_only_the_first(tmp_path: Path) -> None:
    text = changed(
        ('"sk-shop-"', "7"),
        ("requests_per_minute = 600", "requests_per_minute = 0"),
        ("${MAKER_URL}", "${OTHER_URL}"),
        ('["a", "first"]', '["a b", "alpha", 3]'),
        ('"0.70"', '"-1"'),
        ('"2.50"', '"x"'),
        ('cost = { input = "0.35" }', 'cost = { imput = "0.35" }'),
        ("default_max_tokens = 100", "default_max_tokens = 600"),
        ('"tools", "reasoning"', '"tolls", "raisin"'),
        ('name = "picture"', ""),
        ('prices = { image = "0.015" }\nroutes = [{ upstream = "maker" }]', ""),
    )
    places = [line.removeprefix("shop.toml: ") for line in problems_in(tmp_path, text)]
    expected = [
        "service.key_prefix: ",
        'plans[1] "large": requests_per_minute: ',
        "models[1]: name: is missing",
        f"{ALPHA}features[0]: ",
        f"{ALPHA}features[1]: ",
        f'{ALPHA}aliases[0]: "a b" is not',
        f"{ALPHA}aliases[2]: ",
        f"{ALPHA}prices.input: ",
        f"{ALPHA}prices.output: ",
        f"{ALPHA}cost.imput: is not a key of this table; did you mean input?",
        "models[1]: prices: is missing",
        'upstreams[0] "maker": base_url: ',
        f'{ALPHA}aliases[1]: "alpha" is',
        f"{ALPHA}default_max_tokens: ",
        "models[1]: routes: is missing",
    ]
    for start in expected:
        assert any(place.startswith(start) for place in places), start
    assert len(places) == len(expected), places


SHARED = """[model_defaults]
owner = "us"
routes = [{ upstream = "maker" }]

[[models]]
name = "alpha\""""


def test_models_have_what_model_defaults_say_unless_they_say_otherwise(tmp_path: Path) -> None:
    text = changed(
        ('[[models]]\nname = "alpha"', SHARED),
        ('image = "0.015" }\nroutes = [{ upstream = "maker" }]', 'image = "0.015" }'),
        ('kind = "image"', 'kind = "image"\nowner = "them"'),
    )
    alpha, picture = read(tmp_path, text).models
    assert (alpha.owner, picture.owner) == ("us", "them")
    assert (len(alpha.routes), [route.upstream_model for route in picture.routes]) == (
        2,
        ["picture"],
    )


def test_a_problem_in_model_defaults_is_named_once_and_there(tmp_path: Path) -> None:
    shared = SHARED.replace('owner = "us"', "owner = 7\nname = 'x'")
    assert problems_in(tmp_path, changed(('[[models]]\nname = "alpha"', shared))) == [
        "shop.toml: model_defaults.name: is not a key of this table",
        "shop.toml: model_defaults.owner: expected `str`, got `int`",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[service\n", "shop.toml: is not valid TOML: "),
        ("a = " + "[" * 100_000, "shop.toml: is "),
        ("a = " + "9" * 5_000, "shop.toml: is not valid TOML: "),
        ("models = 3\n[service]\nname = 'x'", "shop.toml: models: must be tables"),
        ("[service]\nname = 'x'", "shop.toml: models: there is none"),
        ("models = [3]\n[service]\nname = 'x'", "shop.toml: models[0]: 3 is not a table"),
    ],
)
def test_what_is_no_catalogue_at_all_is_said_so(tmp_path: Path, text: str, problem: str) -> None:
    assert problems_in(tmp_path, text)[0].startswith(problem)


def test_a_file_that_is_no_utf_8_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_bytes(b"[service]\nname = '\xff'")
    with pytest.raises(CatalogueError, match=r"shop\.toml: is not valid TOML: .*utf-8"):
        read_catalogue(path, str)


def test_a_shipped_catalogue_is_found_by_its_name_and_others_by_their_path(tmp_path: Path) -> None:
    assert find_catalogue("weatmood").name == "weatmood.toml"
    own = tmp_path / "own.toml"
    own.write_text(VALID)
    assert find_catalogue(str(own)) == own
    with pytest.raises(CatalogueError, match="there are answira, default, glm5, weatmood"):
        find_catalogue("wheatmood")
    with pytest.raises(CatalogueError, match="is not a catalogue"):
        find_catalogue("../catalogues/weatmood")
    with pytest.raises(CatalogueError, match="is not a file"):
        find_catalogue(str(tmp_path / "none.toml"))
