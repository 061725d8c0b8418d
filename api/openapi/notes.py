"""Texts of the OpenAPI document: its introduction, its tags, and what each field is for."""

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
    {"name": "Pictures and videos", "description": "Made to order, paid by the piece."},
    {"name": "Models", "description": "What can be called, and at what price."},
    {"name": "Health", "description": "How the models do."},
    {"name": "Management", "description": "A team's keys and balance, with a management key."},
]

_PASSED_ON = "As the model understands it; passed on."
_COMMON = {
    "model": "A model's name or alias: see `GET /models`.",
    "max_tokens": "The most tokens to generate, reasoning included. Default: the model's. "
    "More than the model's largest output counts as that.",
    "n": "How many answers to generate; each is paid for.",
    "stream": "Whether to answer as server-sent events.",
    "stream_options": "With `include_usage`, the usage is the last event before `[DONE]`.",
    "logit_bias": "What to add to tokens' logits, by token id.",
    "metadata": "Passed on as it is.",
    "temperature": "How varied the output is. Default: the model's.",
    "top_p": "Nucleus sampling: the share of probability to choose from. Default: the model's.",
    "top_k": "Choose from the K most likely tokens only.",
    "stop": "Texts that end the output.",
    "seed": "The same seed with the same input gives the same output, where the model can.",
    "presence_penalty": "Above 0: rather new topics.",
    "frequency_penalty": "Above 0: fewer repetitions.",
    "repetition_penalty": "Above 1: fewer repetitions; another way to count them.",
    "user": "Your own user, by a name that means nothing to others; kept with the usage.",
}

# Fields of the request structs, by struct. Those of an answer are described in `answers.py`.
FIELD_NOTES: dict[str, dict[str, str]] = {
    "ChatRequest": {
        **_COMMON,
        "messages": "The conversation so far.",
        "max_completion_tokens": "OpenAI's newer name of `max_tokens`; of both, the smaller holds.",
        "tools": "Functions that the model may call.",
        "tool_choice": "`auto` (the default), `none`, `required`, or one function by name.",
        "parallel_tool_calls": "Whether the model may call several at once.",
        "response_format": "`json_object`: some JSON (ask for it in a message, too). "
        "`json_schema`: JSON that matches the schema.",
        "thinking": 'Switches reasoning: `{"type": "enabled"}` or `{"type": "disabled"}`.',
        "plugins": '`[{"id": "web"}]` lets the model search the web, where it can.',
        "logprobs": "Whether to tell the tokens' log probabilities.",
        "top_logprobs": "For how many of the most likely tokens.",
    },
    "CompletionRequest": {
        **_COMMON,
        "prompt": "One text, several, one list of token ids, or several.",
        "echo": "Whether to repeat the prompt before its continuation.",
        "suffix": "What comes after the continuation.",
        "best_of": "How many to generate, of which the best `n` are shown; each is paid for.",
        "logprobs": "For how many of the most likely tokens to tell log probabilities.",
    },
    "ImageRequest": {
        "model": _COMMON["model"],
        "prompt": "What is to be seen.",
        "n": "How many pictures; each that comes is paid for. Default: 1.",
        "size": "Width and height in pixels, such as `1280x1280`: one of the model's sizes.",
        "quality": _PASSED_ON,
        "style": _PASSED_ON,
        "response_format": "`url` for addresses, `b64_json` for the pictures themselves.",
        "user": _COMMON["user"],
    },
    "VideoRequest": {
        "model": _COMMON["model"],
        "prompt": "What is to happen. Needed where there are no pictures.",
        "image_url": "A picture to start from, or several: addresses or `data:` URLs.",
        "image_urls": "Pictures to start from; another name of `image_url`.",
        "quality": _PASSED_ON,
        "size": "Width and height in pixels, such as `1920x1080`: one of the model's sizes.",
        "fps": "Pictures a second.",
        "with_audio": "Whether it has sound.",
        "duration": "How long it is, in seconds. Default: the model's.",
        "user": _COMMON["user"],
    },
}
