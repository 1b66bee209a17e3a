"""What llama.cpp, the engine itself, writes with a GGUF file on this machine."""
from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from export.chat.pieces import Message

#: How a text begins, or a conversation up to where it is answered.
Asked = str | Sequence[Message]
#: Numbers from here on are no severity of its log: nothing is said.
SILENT = -1


class Written(NamedTuple):
    """What the engine made of a prompt.

    Args:
        read: numbers of the prompt's tokens, the start of a text left out.
        tokens: numbers of those that it added.
        tokens_per_second: of those.
    """

    read: list[int]
    tokens: list[int]
    tokens_per_second: float


def greedy(path: Path, prompts: Sequence[tuple[Asked, int]], length: int) -> Iterator[Written]:
    """Yield what the engine goes on with, on one thread of the CPU, with the likeliest token each time.

    Args:
        path: of a GGUF file.
        prompts: texts, or conversations, which the engine writes by the file's template; and how many tokens are added
            to each at most.
        length: tokens of a text, that there is room for.

    Raises:
        ValueError: the engine does not open the file, or cannot go on with a text.
    """
    try:
        server = opened(path, length)
    except Exception as error:  # of several classes
        raise ValueError(f"llama.cpp does not open {path.name}: {error}") from error
    for asked, count in prompts:
        text = asked if isinstance(asked, str) else _asked(
            server, "/apply-template", {"messages": list(asked)})["prompt"]
        read = _asked(server, "/tokenize", {"content": text, "add_special": False, "parse_special": True})["tokens"]
        answer = added(server, text, count)
        yield Written(read, answer["tokens"], float(answer["timings"]["predicted_per_second"]))


def opened(path: Path, length: int, *, exact: bool = True) -> Any:
    """Return the engine with a file, on one thread.

    Args:
        length: tokens that there is room for; 0 for those of the file.
        exact: keys and values are kept in float32; else in half precision, as it does by itself.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.n_gpu_layers = length, 1, 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    if exact:  # its fast attention keeps half precision, whatever is asked for
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.fit_params, params.verbosity, params.n_threads_http, params.cache_ram_mib = False, SILENT, 1, 0
    return xllamacpp.Server(params)


def added(server: Any, text: str, count: int) -> dict[str, Any]:
    """Return what the engine answers to a prompt: `tokens` that it adds, the likeliest each time, and `timings`."""
    return _asked(server, "/completion", {"prompt": text, "n_predict": count, "temperature": 0, "top_k": 1,
                                          "return_tokens": True, "cache_prompt": False})


def _asked(server: Any, path: str, content: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(server.listening_address + path, json.dumps(content).encode(),
                                     {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            result: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        raise ValueError(f"llama.cpp does not go on with a text: {error.read().decode(errors='replace')}") from error
    return result
