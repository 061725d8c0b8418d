"""An answer of bytes, such as sound, which passes as it comes."""

import re

from api.catalogue.snapshot import RouteEntry
from api.dialects.counted import meter_counted
from api.gateway.deadlines import Deadlines
from api.gateway.http import ApiRequest
from api.gateway.process import Gateway
from api.gateway.settlement import AdmittedRequest
from api.gateway.upstream import UpstreamResponse
from api.gateway.upstream_errors import AttemptError
from billing.pricing.charge import charge_of
from billing.pricing.money import dollars_text

# An upstream's error, or the page of a proxy before it, is JSON or text, whatever its status says.
_MEDIA = re.compile(r"(?:audio/[a-z0-9.+-]{1,60}|application/octet-stream)\Z")


class BytesResponder:
    """The bytes of an answer: parts pass as they come, and the last one waits for the settlement.

    What it costs is counted in the request, so nothing of the answer is read but whether it is
    there. Once a part has gone, an upstream that fails can only be told by ending the connection
    before the end of the response; that is free of charge.
    """

    def __init__(
        self,
        gateway: Gateway,
        request: ApiRequest,
        admitted: AdmittedRequest,
        deadlines: Deadlines,
    ) -> None:
        self._gateway = gateway
        self._request = request
        self._admitted = admitted
        self._deadlines = deadlines
        self._response: UpstreamResponse | None = None
        self._last = b""

    def may_retry(self) -> bool:
        """Return whether the client has nothing of the answer, so that an attempt may follow."""
        return not self._request.downstream.has_begun

    async def attempt(self, route: RouteEntry) -> None:
        """Pass the bytes of a route's upstream, but for the last part. Raise AttemptError."""
        admitted, self._last = self._admitted, b""
        response = (await self._gateway.upstreams.call(admitted, route)).response
        self._response = response
        try:
            await self._pass_on(response, route)
        except AttemptError:
            await self.close()
            raise
        await self.close()

    async def _pass_on(self, response: UpstreamResponse, route: RouteEntry) -> None:
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not _MEDIA.match(content_type):
            detail = f"the answer is of the type {content_type[:60]!r}"
            raise AttemptError("bad_answer", detail, status=response.status)
        self._prepare(content_type)
        left = self._gateway.limits.max_answer_bytes
        async for data in response.chunks():
            if not data:
                continue
            left -= len(data)
            if left < 0:
                raise AttemptError("bad_answer", "the answer is too large", status=response.status)
            self._deadlines.saw_data()
            if self._last:
                await self._request.downstream.write(self._last)
            else:
                self._admitted.note_first_token()
                kind = (route.upstream_model, True)
                response.note_first_token(kind, self._admitted.quote.prompt.likely)
            self._last = data
        if not self._last:
            raise AttemptError("bad_answer", "the answer is empty", status=response.status)

    def _prepare(self, content_type: str) -> None:
        """Set the headers. The cost is known: it is of what the request counts."""
        quote = self._admitted.quote
        cost = charge_of(quote.prices, self._admitted.estimated()).total_nanos
        self._request.prepare_bytes(
            [
                (b"content-type", content_type.encode()),
                (b"x-request-cost", dollars_text(cost).encode()),
            ]
        )

    async def complete(self) -> None:
        """Settle what the request counts, and then send the last part."""
        admitted, quote = self._admitted, self._admitted.quote
        counted = quote.likely.units if quote.likely is not None else {}
        # Tokens, where they have a price, nobody reports: they are estimated.
        admitted.complete(meter_counted(counted, quote))
        await self._deadlines.wait_for(
            admitted.settlement, self._gateway.limits.settle_wait_seconds
        )
        await self._request.downstream.write(self._last, is_last=True)

    async def send_error(self, error: AttemptError) -> None:
        """Tell the client what went wrong, unless the answer has begun."""
        if not self._request.downstream.has_begun:
            dialect = self._admitted.quote.dialect
            await self._request.respond_error(error.as_error(), dialect.render_error)

    async def close(self) -> None:
        """End the upstream's call."""
        response, self._response = self._response, None
        if response is not None:
            await response.close()
