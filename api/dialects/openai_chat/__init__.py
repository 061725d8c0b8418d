"""OpenAI's chat completions, as its SDKs and most providers speak them."""

from api.dialects.base import AnswerContext
from api.dialects.openai_chat import translation
from api.dialects.openai_chat.answer import CompletionAnswer
from api.dialects.openai_chat.assembler import CompletionAssembler
from api.dialects.openai_chat.fields import TextDialect
from api.dialects.openai_chat.request import KNOWN_FIELDS, parse_chat
from api.dialects.openai_chat.stream import CompletionStreamReader


class ChatDialect(TextDialect):
    """Chat completions."""

    name = "openai_chat"
    path = "/chat/completions"
    translation = translation
    known_fields = KNOWN_FIELDS
    parse = staticmethod(parse_chat)
    read_answer = staticmethod(CompletionAnswer)
    stream_reader = staticmethod(CompletionStreamReader)

    def assembler(self, context: AnswerContext) -> CompletionAssembler | None:
        """Return what makes a whole completion of chunks; None for sound.

        OpenAI streams it in another format than it gives whole.
        """
        return None if "audio" in context.request.fields else CompletionAssembler(context)


CHAT = ChatDialect()
