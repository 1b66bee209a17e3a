"""What LiteRT-LM, the engine itself, writes with an archive on this machine."""
from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from export.chat.pieces import Message

#: How a text begins, or a conversation up to where it is answered.
Asked = str | Sequence[Message]


class Written(NamedTuple):
    """What the engine made of a prompt.

    Args:
        read: numbers of the prompt's tokens, the start of a text left out.
        parts: texts of the tokens that it added.
        tokens_per_second: of those.
    """

    read: list[int]
    parts: list[str]
    tokens_per_second: float


def greedy(path: Path, prompts: Sequence[tuple[Asked, int]]) -> Iterator[Written]:
    """Yield what the engine goes on with, on one thread of the CPU, with the likeliest token each time.

    Args:
        path: of a .litertlm file.
        prompts: texts, or conversations, which the engine writes by the file's template; and how many tokens are added
            to each at most.

    Raises:
        ValueError: the engine does not open the file, or cannot begin a text.
    """
    import litert_lm

    litert_lm.set_min_log_severity(litert_lm.LogSeverity.ERROR)
    with tempfile.TemporaryDirectory() as folder:  # it would leave its caches beside the file
        try:
            engine = litert_lm.Engine(str(path), backend=litert_lm.Backend.CPU(thread_count=1), cache_dir=folder,
                                      enable_benchmark=True)
        except RuntimeError as error:
            raise ValueError(f"LiteRT-LM does not open {path.name}: {error}") from error
        try:
            for asked, count in prompts:
                yield _written(engine, asked if isinstance(asked, str) else _rendered(engine, asked), count)
        finally:
            engine.close()


def _rendered(engine: object, messages: Sequence[Message]) -> str:
    """Return the text that a conversation is to the engine, which reads it behind the start token."""
    import litert_lm

    assert isinstance(engine, litert_lm.Engine)
    before, last = [dict(message) for message in messages[:-1]], dict(messages[-1])
    try:
        with engine.create_conversation(messages=before or None) as conversation:
            text: str = conversation.render_message_to_string(last)
    except RuntimeError as error:
        raise ValueError(f"LiteRT-LM does not take a conversation: {error}") from error
    return text


def _written(engine: object, text: str, count: int) -> Written:
    """Return what the engine adds to a prompt."""
    import litert_lm

    assert isinstance(engine, litert_lm.Engine)
    likeliest = litert_lm.SamplerConfig(top_k=1, top_p=1.0, temperature=1.0)
    try:
        with engine.create_session(apply_prompt_template=False, sampler_config=likeliest,
                                   max_output_tokens=count) as session:
            session.run_prefill([text])
            parts = [answer.texts[0] for answer in session.run_decode_async() if answer.texts]
            speed = session.get_benchmark_info().last_decode_tokens_per_second
    except RuntimeError as error:
        raise ValueError(f"LiteRT-LM does not go on with {text!r}: {error}") from error
    return Written(engine.tokenize(text), parts, float(speed))
