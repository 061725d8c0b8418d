"""The answers that the OpenAPI document shows as examples."""

HELLO = [{"role": "user", "content": "Hello!"}]
USAGE = {"prompt_tokens": 2, "completion_tokens": 9, "total_tokens": 11}
COMPLETION = {
    "id": "chatcmpl-0198c2f0a1b27cc8",
    "object": "chat.completion",
    "created": 1_719_000_000,
    "model": "glm-5.2",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello! How can I help you?"},
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}
CHUNK = (
    'data: {"id":"chatcmpl-0198c2f0a1b27cc8","object":"chat.completion.chunk",'
    '"created":1719000000,"model":"glm-5.2","choices":[{"index":0,"delta":{"content":"Hello"},'
    '"logprobs":null,"finish_reason":null}]}\n\ndata: [DONE]\n\n'
)
MODEL = {
    "id": "glm-5.2",
    "object": "model",
    "created": 1_700_000_000,
    "owned_by": "z-ai",
    "name": "GLM-5.2",
    "context_length": 256_000,
    "max_completion_tokens": 128_000,
    "reasoning": True,
    "supports_files": True,
    "supports_images": False,
    "input_modalities": ["text", "file"],
    "output_modalities": ["text"],
    "quantization": None,
    "pricing": {"prompt": "0.0000007", "completion": "0.0000025"},
    "supported_sampling_parameters": ["temperature", "top_p", "stop"],
    "supported_features": ["tools", "json_mode", "structured_outputs", "reasoning"],
    "datacenters": [],
}
TEXT = {
    "id": "cmpl-0198c2f0a1b27cc8",
    "object": "text_completion",
    "created": 1_719_000_000,
    "model": "zai-org/GLM-4.7-FP8",
    "choices": [
        {"index": 0, "text": " there was a mill.", "logprobs": None, "finish_reason": "stop"}
    ],
    "usage": USAGE,
}
TEXT_CHUNK = (
    'data: {"id":"cmpl-0198c2f0a1b27cc8","object":"text_completion","created":1719000000,'
    '"model":"zai-org/GLM-4.7-FP8","choices":[{"index":0,"text":" there","logprobs":null,'
    '"finish_reason":null}]}\n\ndata: [DONE]\n\n'
)
CHAT_MODEL = {
    **MODEL,
    "key": "glm-5.2",
    "max_output_tokens": 128_000,
    "default_max_tokens": 16_384,
    "max_messages": None,
    "supports_web_search": False,
}
VIDEO_ID = "video-01a1fe52cceb7802829b84e9b03862db"
