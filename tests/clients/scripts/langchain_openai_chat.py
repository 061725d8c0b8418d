"""LangChain's ChatOpenAI and OpenAIEmbeddings."""

import langchain_shared
from cases import EMBEDDING_MODEL, KEY, MODEL, URL, WRONG_KEY, case, check, main, raises
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai import AuthenticationError, NotFoundError


def build(model=MODEL, key=KEY, **options):
    """Return a chat model. Without `stream_usage` another base URL's streams have no usage."""
    return ChatOpenAI(model=model, api_key=key, base_url=f"{URL}/v1", stream_usage=True, **options)


langchain_shared.register(build)


@case
def error():
    raises(NotFoundError, lambda: build("no-such-model").invoke("Hello!"))
    raises(AuthenticationError, lambda: build(key=WRONG_KEY).invoke("Hello!"))


@case
def embeddings():
    # It would cut texts by a tokenizer that it downloads, and send token numbers.
    model = OpenAIEmbeddings(
        model=EMBEDDING_MODEL,
        api_key=KEY,
        base_url=f"{URL}/v1",
        check_embedding_ctx_length=False,
    )
    vectors = model.embed_documents(["one", "two"])
    check(len(vectors) == 2 and isinstance(vectors[1][0], float), vectors)


main()
