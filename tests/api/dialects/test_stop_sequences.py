"""Stop sequences, which Responses has none of: its clients can't ask, and its upstreams refuse."""

import pytest

from api import errors
from api.dialects import DIALECTS, link
from tests.api.dialects.clients import CLIENTS
from tests.api.dialects.pairs import UPSTREAM_PATHS, exchange, model_entry


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("upstream", UPSTREAM_PATHS)
@pytest.mark.parametrize("downstream", ["openai_chat", "anthropic_messages"])
def test_stop_sequences(downstream: str, upstream: str, stream: bool) -> None:
    client = CLIENTS[downstream]
    body = client.ask("Go", stop=["map"], stream=stream)
    if upstream == "openai_responses":
        request = DIALECTS[downstream].parse(body, 100)
        dialect = link(DIALECTS[downstream], upstream)
        assert dialect is not None
        with pytest.raises(errors.UnsupportedParameterError) as refused:
            dialect.upstream_body(request, *model_entry(upstream), 100)
        assert refused.value.param == "stop"
        return
    read = (client.read_stream if stream else client.read)(
        exchange(downstream, upstream, body, "tokens=6").body
    )
    assert read.text.strip() == "sun fox"
    assert read.ended == "stop"
