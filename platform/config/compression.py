"""Compression of pages. Static files have compressed twins once they are collected."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware


class CompressedPages(GZipMiddleware):
    """Middleware that compresses pages for browsers that accept gzip, but nothing streamed.

    It pads at random, as the length of a page could reveal its secrets (BREACH); Brotli's format
    has no room for that. Django compresses each chunk of an asynchronous stream as a gzip member of
    its own, and Chromium reads only the first: nginx compresses exports instead.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Return the response, compressed where that makes it smaller."""
        return response if response.streaming else super().process_response(request, response)
