"""The brand's files as responses: the logo and the stylesheet of its colors."""

from django.http import Http404, HttpResponse

from portal.brand.current import LoadedBrand

# An SVG is a document. Opened on its own, it runs and loads nothing, whatever it holds.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"


def file_response(brand: LoadedBrand, kind: str) -> HttpResponse:
    """Return the file, with its ETag. Raise Http404 for one that the brand doesn't have."""
    if kind == "logo" and brand.logo:
        answer = HttpResponse(brand.logo, content_type=brand.row.logo_type)
    elif kind == "colors" and brand.has_colors:
        answer = HttpResponse(brand.css, content_type="text/css; charset=utf-8")
    else:
        raise Http404
    answer["ETag"] = f'"{brand.digest}-{kind}"'
    answer["Content-Security-Policy"] = POLICY
    answer["X-Content-Type-Options"] = "nosniff"
    return answer
