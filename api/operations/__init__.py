"""What can be asked of the API. A new endpoint is a module here and a line in the table below.

Each paid operation can also be quoted, at its path followed by `/quote`.
"""

from api.operations.app_keys import APP_KEYS
from api.operations.async_chat import ASYNC_CHAT_COMPLETIONS
from api.operations.async_results import ASYNC_RESULT
from api.operations.base import Operation
from api.operations.chat_completions import CHAT_COMPLETIONS
from api.operations.completions import LEGACY_COMPLETIONS
from api.operations.count_tokens import COUNT_TOKENS
from api.operations.credits import CREDITS
from api.operations.embeddings import EMBEDDINGS
from api.operations.generation import GENERATION
from api.operations.health import HEALTH
from api.operations.images import IMAGES_GENERATIONS
from api.operations.images_edits import IMAGES_EDITS
from api.operations.key import KEY
from api.operations.messages import CREATE_MESSAGE
from api.operations.models import CHAT_MODELS, MODEL, MODELS
from api.operations.moderations import MODERATIONS
from api.operations.openai_videos import VIDEOS
from api.operations.quotes import PAGE, quote_of
from api.operations.receipts import DAY_ROOT, DAY_ROOTS, RECEIPT
from api.operations.rerank import RERANK
from api.operations.responses import CREATE_RESPONSE
from api.operations.sign_in import METADATA, SPENDING, TELEMETRY
from api.operations.speech import SPEECH
from api.operations.transcriptions import TRANSCRIPTIONS
from api.operations.usage import USAGE
from api.operations.video_results import VIDEO, VIDEO_CONTENT
from api.operations.videos import VIDEOS_GENERATIONS

_TABLE = (
    CHAT_COMPLETIONS,
    LEGACY_COMPLETIONS,
    ASYNC_CHAT_COMPLETIONS,
    CREATE_MESSAGE,
    COUNT_TOKENS,
    CREATE_RESPONSE,
    EMBEDDINGS,
    RERANK,
    MODERATIONS,
    SPEECH,
    TRANSCRIPTIONS,
    CHAT_MODELS,
    MODELS,
    MODEL,
    IMAGES_GENERATIONS,
    IMAGES_EDITS,
    VIDEOS_GENERATIONS,
    VIDEOS,
    VIDEO,
    VIDEO_CONTENT,
    ASYNC_RESULT,
    KEY,
    CREDITS,
    GENERATION,
    USAGE,
    RECEIPT,
    DAY_ROOTS,
    DAY_ROOT,
    APP_KEYS,
    METADATA,
    SPENDING,
    TELEMETRY,
    HEALTH,
)
_QUOTES = (
    quote_of(each, PAGE if each is CHAT_COMPLETIONS else None)
    for each in _TABLE
    if each.quoter is not None
)
OPERATIONS: dict[str, Operation] = {each.name: each for each in (*_TABLE, *_QUOTES)}
