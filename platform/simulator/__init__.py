"""A stand-in upstream provider: scripted models, scripted faults and a journal of every call.

It speaks OpenAI's and Anthropic's dialects and needs no network, no key and no model. What it
answers is decided by a *behaviour script* (see `script.py` and README.md) in the model's name, a
header, the body or the prompt, so one process plays every upstream a test needs, well-behaved or
broken. Its journal is the oracle: what it really generated, and when it noticed that nobody was
listening any more.

    gunicorn -k asgi --workers 1 simulator.app:application

Each dialect's requests, answers and errors are in the modules named after it: `chat` and `chunks`,
`completions`, `messages*`, `responses*`; what they share is `answer` (the plan of an answer),
`events`, `prompt`, `tools` and `turns`.
"""
