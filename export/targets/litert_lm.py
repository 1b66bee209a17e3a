"""Files for LiteRT-LM, Google's engine of language models on devices: a TFLite file that reads some tokens a call, and
the archive of it, its tokenizer and what the engine must know, NAME.litertlm.

What the engine calls: `prefill_8`, … with so many tokens, and `decode` with one; keys and values of the tokens before
go in and come out.
"""
from __future__ import annotations

import contextlib
import dataclasses
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from etils import epy
from pydantic import BaseModel, Field

from export.chat.templates import Template
from export.signature import Function, Signature, Tensor
from export.tflite.chunked import DECODE, KEYS, OUTPUT, PLACES, PREFILL, TOKENS, VALUES

with epy.lazy_imports():
    import tensorflow as tf

#: Lengths of the prefill signatures. The engine cuts a prompt by the longest that still fits: without a short one it
#: fails near the end of a text.
LENGTHS = (8, 32, 128)


class Decoder(Protocol):
    """A language model that reads some tokens a call, see `models.chunks.ChunkedDecoder`."""

    length: int
    depth: int
    vocabulary: int

    @property
    def cache(self) -> tuple[int, int, int]:
        """Return the shape of the keys of a block, and of its values."""
        ...

    def read(self, tokens: Any, start: Any, caches: Sequence[Any]) -> tuple[Any, list[Any]]:
        """Return what the last block makes of tokens, and the caches then."""
        ...

    def logits(self, x: Any) -> Any:
        """Return logits of what the last block gave."""
        ...


class Tokenizer(NamedTuple):
    """How texts are cut: the content of SentencePiece's model, or of Hugging Face's tokenizer.json."""

    kind: Literal["sentencepiece", "hugging_face"]
    content: bytes


class Chunk(Function):
    """A function whose places have no axis of examples, as the engine has it."""

    def specs(self, batch: int | None) -> list[tf.TensorSpec]:
        return [tf.TensorSpec(tensor.shape if tensor.name == PLACES else (1, *tensor.shape), tensor.dtype, tensor.name)
                for tensor in self.signature.inputs]


def functions(decoder: Decoder, lengths: Sequence[int]) -> list[Function]:
    """Return `decode` and a prefill for each length that the model has.

    Args:
        lengths: tokens of a call.
    """
    return [_function(decoder, DECODE, 1), *(_function(decoder, f"{PREFILL}{count}", count)
                                             for count in lengths if count <= decoder.length)]


def _function(decoder: Decoder, name: str, count: int) -> Function:
    names = [f"{kind}{number}" for number in range(decoder.depth) for kind in (KEYS, VALUES)]
    caches = tuple(Tensor(name=one, dtype="float32", shape=decoder.cache, role="state",
                          meaning="zeros before the first token, then what the call before gave") for one in names)
    tokens = (Tensor(name=TOKENS, dtype="int32", shape=(count,), role="tokens"),
              Tensor(name=PLACES, dtype="int32", shape=(count,), meaning="place of the first; the others follow it"))
    logits = (Tensor(name=OUTPUT, dtype="float32", shape=(1, decoder.vocabulary), role="logits"),)

    def call(**tensors: Any) -> dict[str, Any]:
        # the engine has 0 for places of tokens that only fill a prefill up: the first place alone is asked
        x, after = decoder.read(tensors[TOKENS], tensors[PLACES][0], [tensors[one] for one in names])
        return {**({OUTPUT: decoder.logits(x)} if name == DECODE else {}), **dict(zip(names, after, strict=True))}

    return Chunk(Signature(name=name, inputs=(*tokens, *caches),
                           outputs=(*(logits if name == DECODE else ()), *caches)), call)


class Sampler(BaseModel, extra="forbid", frozen=True):
    """How an engine draws tokens where an app does not say it.

    Args:
        temperature: logits are divided by it; 0 takes the likeliest token.
        top_k: the likeliest tokens, of which one is drawn.
        top_p: of these, the fewest that have this probability together.
        seed: of what is drawn.
    """

    temperature: float = Field(1.0, ge=0)
    top_k: int = Field(40, ge=1)
    top_p: float = Field(0.95, gt=0, le=1)
    seed: int = Field(0, ge=0, lt=2**31)


@dataclasses.dataclass(frozen=True)
class Manner:
    """How the engine writes.

    Args:
        start: token that stands before a text.
        stop: token that ends one: the engine makes no session without.
        never: tokens that are not written.
        length: tokens of a text at most.
        stops: texts that end one, and are left out of it; the engine sees them where they are whole tokens.
        jinja: the template of conversations; the bare text where not given.
        turns: the same for those who have no jinja, as far as it can be said so.
        sampler: how tokens are drawn where an app does not say it.
    """

    start: int
    stop: int
    never: Sequence[int]
    length: int
    stops: Sequence[str] = ()
    jinja: str = ""
    turns: Template | None = None
    sampler: Sampler | None = None


def metadata(manner: Manner) -> bytes:
    """Return what the engine must know, as its own message."""
    from litert_lm_builder.runtime.proto import llm_metadata_pb2

    about = llm_metadata_pb2.LlmMetadata(max_num_tokens=manner.length)
    about.start_token.token_ids.ids.append(manner.start)
    about.stop_tokens.add().token_ids.ids.append(manner.stop)
    about.suppress_tokens.ids.extend(manner.never)
    about.llm_model_type.generic_model.SetInParent()
    for text in dict.fromkeys(manner.stops):
        about.stop_tokens.add().token_str = text
    if manner.turns is not None:
        for role in ("user", "model", "system"):
            turn = getattr(manner.turns, role)
            affixes = getattr(about.prompt_templates, role)
            affixes.prefix, affixes.suffix = turn.before, turn.behind
    if manner.jinja:  # conversations read this alone: of the others they lose a line break at the end of a turn
        about.jinja_prompt_template = manner.jinja
    if manner.sampler is not None:
        own = manner.sampler
        # on a CPU the engine has no GREEDY, which the likeliest of one token is
        about.sampler_params.type = about.sampler_params.TOP_P
        about.sampler_params.k, about.sampler_params.p = own.top_k if own.temperature else 1, own.top_p
        about.sampler_params.temperature, about.sampler_params.seed = own.temperature or 1.0, own.seed
    content: bytes = about.SerializeToString(deterministic=True)
    return content


def pack(path: Path, model: Path, tokenizer: Tokenizer, manner: Manner) -> None:
    """Write an archive for the engine.

    Args:
        path: of the archive; must end in .litertlm, by which the engine knows it.
        model: the TFLite file.
    """
    from litert_lm_builder import litertlm_builder

    builder = litertlm_builder.LitertLmFileBuilder()
    kind = litertlm_builder.TfLiteModelType.PREFILL_DECODE
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        about = Path(folder) / "metadata.pb"
        about.write_bytes(metadata(manner))
        is_pieces = tokenizer.kind == "sentencepiece"
        vocabulary = Path(folder) / ("tokenizer.model" if is_pieces else "tokenizer.json")
        vocabulary.write_bytes(tokenizer.content)
        builder.add_llm_metadata(str(about))
        add = builder.add_sentencepiece_tokenizer if is_pieces else builder.add_hf_tokenizer
        add(str(vocabulary))
        builder.add_tflite_model(str(model), kind)
        with path.open("wb") as stream:
            builder.build(stream)
