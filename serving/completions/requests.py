"""What may be asked for, as OpenAI's API reference has it, and how it is refused.

https://platform.openai.com/docs/api-reference/completions and .../chat
"""
from __future__ import annotations

from typing import Annotated, Any, Literal

import grpc
import orjson
import pydantic
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from serving.errors import ServingError

#: Texts that are written at once for a request, at most.
MOST_TEXTS = 64
#: What metrics call an answer's status.
CODES = {404: grpc.StatusCode.NOT_FOUND, 500: grpc.StatusCode.INTERNAL}
Stop = Annotated[str, StringConstraints(min_length=1)]


class RequestError(ServingError):
    """A request that is refused.

    Args:
        message: what, and what to do.
        status: of HTTP.
        param: the setting that it is about.
        code: OpenAI's word for it, where there is one.
    """

    def __init__(self, message: str, status: int = 400, param: str | None = None, code: str | None = None):
        super().__init__(CODES.get(status, grpc.StatusCode.INVALID_ARGUMENT), message)
        self.status, self.param, self.word = status, param, code

    @property
    def body(self) -> bytes:
        """Return the answer, in OpenAI's format."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        return orjson.dumps({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.word}})


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class StreamOptions(_Strict):
    """How an answer is streamed.

    Args:
        include_usage: the last event counts tokens.
    """

    include_usage: bool = False


class Asked(_Strict):
    """What both calls take. What would change an answer, and is not known here, is refused.

    Args:
        top_k: so many of the likeliest tokens are drawn from; 0: all. OpenAI has no such setting.
        user, metadata, store, service_tier: mean nothing here.
    """

    model: Annotated[str, StringConstraints(min_length=1)]
    max_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, ge=0, le=1)
    top_k: int = Field(0, ge=0, lt=2**31)
    n: int = Field(1, ge=1, le=MOST_TEXTS)
    seed: int | None = Field(None, ge=-2**63, lt=2**63 - MOST_TEXTS)
    stop: Stop | Annotated[list[Stop], Field(max_length=4)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    frequency_penalty: Literal[0] | None = None
    presence_penalty: Literal[0] | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=0)] | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None

    @property
    def stops(self) -> list[str]:
        """Return the texts that end an answer, and are not part of it."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    @property
    def most(self) -> int | None:
        """Return how many tokens are added at most; None: as many as there is room for."""
        return self.max_tokens


class CompletionRequest(Asked):
    """POST /v1/completions: texts to go on with.

    Args:
        echo: the answer begins with the prompt.
    """

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=MOST_TEXTS)] = ""
    max_tokens: int | None = Field(16, ge=1)
    echo: bool = False
    best_of: Literal[1] | None = None
    logprobs: None = None
    suffix: None = None

    @property
    def prompts(self) -> list[str]:
        """Return the texts."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


class Part(_Strict):
    """A part of a message; text alone is read."""

    type: Literal["text"]
    text: str


class Message(_Strict):
    """What one side said."""

    role: Annotated[str, StringConstraints(min_length=1)]
    content: str | list[Part]
    name: str | None = None

    @property
    def text(self) -> str:
        """Return all of it."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(Asked):
    """POST /v1/chat/completions: a conversation to go on with."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: Literal[False] | None = None

    @property
    def most(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens


#: Settings within others, as they are named where they are wrong.
NAMES = {name for kind in (Message, Part, StreamOptions) for name in kind.model_fields}


def parse(kind: type[Asked], body: bytes) -> Any:
    """Return a request. Raises RequestError, one line that names the setting."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON in UTF-8: {error}") from error
    if not isinstance(content, dict):
        raise RequestError("the body is not a JSON object")
    try:
        return kind.model_validate(content)
    except pydantic.ValidationError as error:
        raise _refusal(error) from error


def _refusal(error: pydantic.ValidationError) -> RequestError:
    """Return what is said of the first setting that is wrong: where it may be of several kinds, of the nearest."""
    errors = error.errors(include_url=False, include_input=False)
    name = errors[0]["loc"][0] if errors[0]["loc"] else None
    nearest = next((one for one in errors if one["loc"][:1] == (name,) and one["type"] != "string_type"), errors[0])
    words = [str(one) for one in nearest["loc"]]
    path = ".".join([*words[:1], *(word for word in words[1:] if word.isdigit() or word in NAMES)])[:200]
    said = {"extra_forbidden": f"Unrecognized request argument supplied: {path}", "missing": f"you must provide {path}"}
    return RequestError(said.get(nearest["type"], f"{path}: {nearest['msg']}"), param=words[0] if words else None)
