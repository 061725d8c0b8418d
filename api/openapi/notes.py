"""Texts of the OpenAPI document: its introduction and its tags."""

INTRODUCTION = """\
An OpenAI-compatible API, paid from one balance: point any OpenAI SDK at one of the servers below
and change nothing but base URL and key.

The same endpoints answer under every server. A server decides where reasoning goes, how a refused
key is called, and which models it serves; its description says so.

Retry 429, 500, 502, 503 and 504 with exponential backoff (1, 2, 4 seconds), and as `Retry-After`
says where it is there. Nothing that failed is charged.
"""

TAGS = [
    {"name": "Chat", "description": "Conversations with a model."},
    {"name": "Embeddings", "description": "Texts as vectors."},
    {"name": "Reranking", "description": "Documents in the order of their relevance."},
    {"name": "Moderation", "description": "Whether texts and pictures are harmful."},
    {"name": "Audio", "description": "Texts as speech, and speech as texts."},
    {"name": "Images and videos", "description": "Made to order, paid by the piece."},
    {"name": "Models", "description": "What can be called, and at what price."},
    {"name": "Health", "description": "How the models do."},
    {"name": "Management", "description": "A team's keys and balance, with a management key."},
]
