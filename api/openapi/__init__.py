"""The OpenAPI 3.1 document of the whole API, made from the code and served at `/openapi.json`.

Each operation describes itself (`api/operations/`): its request is the struct that validates it,
its answer a struct beside it, its errors the tree of `api/errors.py`. The management API is
described by drf-spectacular. `document.py` joins the two.
"""
