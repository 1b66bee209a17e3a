"""What LiteRT-LM, the engine itself, writes with an archive on this machine."""
from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple


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


def greedy(path: Path, prompts: Sequence[tuple[str, int]]) -> Iterator[Written]:
    """Yield what the engine goes on with, on one thread of the CPU, with the likeliest token each time.

    Args:
        path: of a .litertlm file.
        prompts: texts, and how many tokens are added to each at most.

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
            for text, count in prompts:
                yield _written(engine, text, count)
        finally:
            engine.close()


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
