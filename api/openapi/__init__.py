"""The OpenAPI 3.1 document of the whole API, made from the code and served at `/openapi.json`.

The relay's endpoints are described by a table (`operations.py`): their requests are the structs
that validate them, their answers the structs of `answers.py`, their errors the tree of
`api/errors.py`. The management API is described by drf-spectacular. `document.py` joins the two.
"""
