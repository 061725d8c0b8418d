"""Texts of the OpenAPI document: its introduction and its tags."""

INTRODUCTION = """\
An OpenAI-compatible API, billed to one prepaid balance. To use it with any OpenAI SDK, change the
base URL to one of the servers below, and the key.

All servers have the same endpoints. They differ in the field for reasoning, the error type of a
rejected key, and the models they serve, as their descriptions say.

Retry 429, 500, 502, 503 and 504 with exponential backoff (1, 2, 4 seconds), or after the time in
`Retry-After` if present. Failed requests are free.
"""

TAGS = [
    {"name": "Chat", "description": "Talk to a model."},
    {"name": "Embeddings", "description": "Turn text into vectors."},
    {"name": "Reranking", "description": "Rank documents by relevance."},
    {"name": "Moderation", "description": "Detect harmful text and images."},
    {"name": "Audio", "description": "Turn text into speech and speech into text."},
    {
        "name": "Images and videos",
        "description": "Create images and videos, priced per image or video.",
    },
    {"name": "Models", "description": "Available models and their prices."},
    {"name": "Quotes", "description": "What a request will cost, before it is made."},
    {"name": "Account", "description": "A key's limits and usage, and its team's credits."},
    {"name": "Health", "description": "Current health of the models."},
    {
        "name": "Management",
        "description": "Manage a team's keys and read its balance, with a management key.",
    },
]
