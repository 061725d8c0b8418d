"""An order of a video in OpenAI's form becomes one of ours."""

from typing import Any

import pytest

from api import errors
from api.dialects.form import FormFile
from api.operations.openai_videos import parse_openai_video

ASKED: dict[str, Any] = {"model": "m", "prompt": "A bird"}
PNG = FormFile("bird.png", "image/png", b"png")


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({}, {}),
        ({"seconds": "8", "size": "9x9"}, {"duration": 8, "size": "9x9"}),
        ({"seconds": 3.2}, {"duration": 4}),
        ({"input_reference": PNG}, {"image_url": "data:image/png;base64,cG5n"}),
        (
            {"input_reference": {"image_url": "https://pictures.example/1.png"}},
            {"image_url": "https://pictures.example/1.png"},
        ),
        ({"seconds": None, "novelty": "1"}, {"novelty": "1"}),
    ],
)
def test_it_is_sent_as_ours(given: dict[str, Any], sent: dict[str, Any]) -> None:
    parsed = parse_openai_video({**ASKED, **given}, 100)
    assert parsed.fields == {**ASKED, **sent}
    assert parsed.typed.has_images == ("image_url" in sent)
    assert parsed.typed.named_seconds == sent.get("duration")


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        (FormFile("a.txt", "text/plain", b"a"), errors.InvalidValueError),
        (FormFile("a.png", "image/png", b""), errors.InvalidValueError),
        ("bird.png", errors.InvalidTypeError),
        ({"file_id": "file-1"}, errors.InvalidTypeError),
        ([PNG, PNG], errors.InvalidTypeError),
    ],
)
def test_what_is_no_picture_is_refused(
    reference: Any, kind: type[errors.InvalidRequestError]
) -> None:
    with pytest.raises(kind) as caught:
        parse_openai_video({**ASKED, "input_reference": reference}, 100)
    assert caught.value.param == "input_reference"
