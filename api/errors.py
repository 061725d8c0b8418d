"""Every error of the API.

    ApiError
    ├── InvalidRequestError             400 invalid_request_error   (type invalid_request_error)
    │   ├── InvalidJsonError            400 invalid_json
    │   ├── InvalidTypeError            400 invalid_type
    │   ├── InvalidValueError           400 invalid_value
    │   ├── MissingParameterError       400 missing_required_parameter
    │   ├── UnknownParameterError       400 unknown_parameter
    │   ├── UnsupportedParameterError   400 unsupported_parameter
    │   ├── ContextLengthError          400 context_length_exceeded
    │   ├── HttpsRequiredError          400 https_required
    │   ├── AuthenticationError         401 invalid_api_key
    │   │   ├── MissingApiKeyError
    │   │   └── InvalidApiKeyError
    │   ├── PermissionDeniedError       403 permission_denied
    │   │   ├── ModelNotAllowedError    403 model_not_allowed
    │   │   ├── EndpointNotAllowedError 403 endpoint_not_allowed
    │   │   ├── TeamSuspendedError      403 team_suspended
    │   │   └── KeyFrozenError          403 key_frozen
    │   ├── NotFoundError               404 not_found
    │   │   ├── UnknownUrlError         404 unknown_url
    │   │   └── ModelNotFoundError      404 model_not_found
    │   ├── MethodNotAllowedError       405 method_not_allowed
    │   ├── ConflictError               409 conflict
    │   ├── RequestTooLargeError        413 request_too_large
    │   └── UnsupportedMediaTypeError   415 unsupported_media_type
    ├── InsufficientQuotaError          402 insufficient_quota      (type insufficient_quota)
    │   └── BudgetExceededError         402 budget_exceeded
    ├── RateLimitError                  429 rate_limit_exceeded     (type requests)
    │   ├── TokensRateLimitError        429 rate_limit_exceeded     (type tokens)
    │   ├── FreeRateLimitError          429 rate_limit_exceeded     (type requests)
    │   └── ConcurrentRequestsError     429 concurrent_requests_exceeded (type requests)
    └── ServerError                     500 internal_error          (type server_error)
        ├── UpstreamError               502 upstream_error
        ├── ServiceUnavailableError     503 service_unavailable
        │   ├── ModelOfflineError       503 model_offline
        │   └── ModelUnpricedError      503 model_unpriced
        └── UpstreamTimeoutError        504 upstream_timeout

Types and codes are OpenAI's where it has one (its SDKs choose the exception by the status alone);
which status means what is decided in `platform/docs/architecture.md`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from api.phrases import Phrase, cleaned

_LONGEST_MESSAGE = 1_000
_LONGEST_PARAM = 200
_LONGEST_QUOTE = 80


class ApiError(Exception):
    """Any error response. Raise one of the classes below.

    `param` is the path of the offending field, such as `messages[2].content`. `headers` go out with
    the answer, besides the class's own. Texts may quote the client: they are cut and cleaned here.
    `default_message` and `template` are translated, as is a `Phrase`; `str(error)` is in English.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[str] = "internal_error"
    default_message: ClassVar[str] = "Something went wrong on our side. Try again."
    default_headers: ClassVar[Mapping[str, str]] = {}
    default_param: ClassVar[str | None] = None
    template: ClassVar[str] = ""

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        self._message = Phrase(message or self.default_message)
        param = self.default_param if param is None else param
        self.param = None if param is None else cleaned(param, _LONGEST_PARAM)
        self.headers = {**self.default_headers, **(headers or {})}
        if retry_after_seconds is not None:
            self.headers["Retry-After"] = str(max(1, retry_after_seconds))
        super().__init__(cleaned(self._message, _LONGEST_MESSAGE))

    @property
    def message(self) -> str:
        """The text for the client, in the active language."""
        return cleaned(self._message.translated(), _LONGEST_MESSAGE)

    @classmethod
    def about(cls, *names: str, param: str | None = None) -> Self:
        """Return the error with names, such as the client's model, put into its `template`."""
        return cls(Phrase(cls.template, *(quoted(name) for name in names)), param=param)


class InvalidRequestError(ApiError):
    """The request can't be answered as it is; a retry would fail too."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request_error"
    default_message = "The request is invalid. Check it against the API documentation."


class InvalidJsonError(InvalidRequestError):
    """The body isn't JSON."""

    code = "invalid_json"
    default_message = "The body is not valid JSON. Send one JSON object in UTF-8."


class InvalidTypeError(InvalidRequestError):
    """A field has the wrong JSON type."""

    code = "invalid_type"


class InvalidValueError(InvalidRequestError):
    """A field has the right type, but a value that is not accepted."""

    code = "invalid_value"


class MissingParameterError(InvalidRequestError):
    """A required field is absent."""

    code = "missing_required_parameter"
    template = "Missing required parameter: '{}'. Add it."


class UnknownParameterError(InvalidRequestError):
    """An unknown field, at an endpoint that refuses those."""

    code = "unknown_parameter"
    template = "Unknown parameter: '{}'. Leave it out."


class UnsupportedParameterError(InvalidRequestError):
    """A field that the model doesn't support."""

    code = "unsupported_parameter"
    template = "'{}' is not supported by the model '{}'. Leave it out or use another model."


class ContextLengthError(InvalidRequestError):
    """Prompt and output don't fit the model's context.

    `prompt_tokens` and `most_tokens` are what it has and what it may have, as far as it is known.
    """

    code = "context_length_exceeded"
    default_message = "The messages exceed the model's context. Shorten them or lower max_tokens."

    def __init__(
        self, *message: str | None, prompt_tokens: int = 0, most_tokens: int = 0, **options: Any
    ) -> None:
        super().__init__(*message, **options)
        self.prompt_tokens, self.most_tokens = prompt_tokens, most_tokens


class HttpsRequiredError(InvalidRequestError):
    """The request, including any API key, was sent unencrypted."""

    code = "https_required"
    default_message = (
        "Use https:// in the base URL. This request was sent unencrypted: if it had an API key, "
        "revoke that key and create a new one."
    )


class AuthenticationError(InvalidRequestError):
    """The client is not authenticated."""

    status = 401
    code = "invalid_api_key"
    # RFC 9110 11.6.1: a 401 names the scheme.
    default_headers: ClassVar[Mapping[str, str]] = {"WWW-Authenticate": "Bearer"}


class MissingApiKeyError(AuthenticationError):
    """The request has no credentials."""

    default_message = (
        "You didn't provide an API key. Send it as `Authorization: Bearer YOUR_KEY`; "
        "create one in your account's settings."
    )


class InvalidApiKeyError(AuthenticationError):
    """The key is malformed, unknown, revoked or expired; the response doesn't say which."""

    default_message = (
        "Invalid API key provided. Check that it is complete and was not revoked, "
        "or create a new one in your account's settings."
    )


class PermissionDeniedError(InvalidRequestError):
    """The client is authenticated, but lacks permission."""

    status = 403
    code = "permission_denied"
    default_message = "You don't have permission to do this. Ask an owner of the team."


class ModelNotAllowedError(PermissionDeniedError):
    """The key's list of models doesn't include this one."""

    code = "model_not_allowed"
    template = "This API key may not use the model '{}'. Allow it in the key's settings."
    default_param = "model"


class EndpointNotAllowedError(PermissionDeniedError):
    """The key has the wrong scope, or the surface doesn't serve the model."""

    code = "endpoint_not_allowed"
    default_message = "This API key can't use this endpoint. Use a key with the right scope."


class TeamSuspendedError(PermissionDeniedError):
    """The team is suspended by staff."""

    code = "team_suspended"
    default_message = "This team is suspended. Contact support."


class KeyFrozenError(PermissionDeniedError):
    """The key was frozen by its team, or by staff."""

    code = "key_frozen"
    default_message = (
        "This API key is frozen. Unfreeze it in your account's settings, or use another key; "
        "if you can't unfreeze it, contact support."
    )


class NotFoundError(InvalidRequestError):
    """The object doesn't exist, or the client may not know that it does."""

    status = 404
    code = "not_found"
    default_message = "The object was not found. Check its id."


class UnknownUrlError(NotFoundError):
    """There is no such path."""

    code = "unknown_url"
    template = "Unknown request URL: {} {}. Check the path and the base URL."
    default_message = "Unknown request URL. Check the path and the base URL."


class ModelNotFoundError(NotFoundError):
    """No model has this name."""

    code = "model_not_found"
    template = "The model '{}' does not exist. List the models with GET /v1/models."
    default_param = "model"


class MethodNotAllowedError(InvalidRequestError):
    """The path doesn't support the method: raise it with the header Allow (RFC 9110 15.5.6)."""

    status = 405
    code = "method_not_allowed"
    default_message = "The path doesn't support this method. See the Allow header."


class ConflictError(InvalidRequestError):
    """The object's state doesn't allow the change."""

    status = 409
    code = "conflict"


class RequestTooLargeError(InvalidRequestError):
    """The body exceeds the size limit."""

    status = 413
    code = "request_too_large"
    default_message = "The body is too large. Send a smaller one."
    template = "The body is larger than {} bytes. Send a smaller one."


class UnsupportedMediaTypeError(InvalidRequestError):
    """The body's media type is not supported."""

    status = 415
    code = "unsupported_media_type"
    default_message = "Send JSON, with the header `Content-Type: application/json`."


class InsufficientQuotaError(ApiError):
    """The team's credits don't cover the request."""

    status = 402
    type = "insufficient_quota"
    code = "insufficient_quota"
    default_message = "Not enough credits for this request. Buy credits, or lower max_tokens."
    template = "Not enough credits for this request. Buy credits at {}, or lower max_tokens."


class BudgetExceededError(InsufficientQuotaError):
    """The key's own budget doesn't cover the request."""

    code = "budget_exceeded"
    default_message = "The API key's budget is used up. Raise it or wait for its next period."


class RateLimitError(ApiError):
    """Too many requests in this minute."""

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"
    default_message = "Too many requests. Wait for the time in Retry-After, then back off."


class TokensRateLimitError(RateLimitError):
    """Too many tokens in this minute."""

    type = "tokens"
    default_message = (
        "Too many tokens per minute. Wait for the time in Retry-After, or send fewer tokens."
    )


class FreeRateLimitError(RateLimitError):
    """The team or the client's address has used up this minute's limit of free models."""

    default_message = "You reached the limit for free models. Wait for the time in Retry-After."


class ConcurrentRequestsError(RateLimitError):
    """The team has too many concurrent requests."""

    code = "concurrent_requests_exceeded"
    default_message = "Your team has too many concurrent requests. Wait until one has finished."


class ServerError(ApiError):
    """A failure of the service or an upstream; the client may retry."""


class UpstreamError(ServerError):
    """The model's provider failed."""

    status = 502
    code = "upstream_error"
    default_message = "The model's provider failed to answer. You were not charged; try again."
    template = (
        "The model's provider failed in the middle of the answer. You were charged {} for what was "
        "delivered; try again."
    )


class ServiceUnavailableError(ServerError):
    """The service is disabled, or something it depends on is temporarily unavailable."""

    status = 503
    code = "service_unavailable"
    default_message = "The service is temporarily unavailable. Try again later."
    default_headers: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


class ModelOfflineError(ServiceUnavailableError):
    """No route to the model is available."""

    code = "model_offline"
    default_message = "The model is offline. Try again later, or use another model."
    default_headers: ClassVar[Mapping[str, str]] = {"Retry-After": "30"}


class ModelUnpricedError(ServiceUnavailableError):
    """The model has no price yet, and nothing is free by accident."""

    code = "model_unpriced"
    default_message = "The model has no price yet, so it can't be used. Use another model."
    default_headers: ClassVar[Mapping[str, str]] = {"Retry-After": "60"}


class UpstreamTimeoutError(ServerError):
    """The model's provider took too long."""

    status = 504
    code = "upstream_timeout"
    default_message = "The model's provider took too long. You were not charged; try again."
    template = (
        "The model's provider took too long in the middle of the answer. You were charged {} for "
        "what was delivered; try again."
    )


def quoted(text: str) -> str:
    """Return a client's text short enough to be quoted in a message."""
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
