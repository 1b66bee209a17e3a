"""Files of language models for LiteRT-LM, Google's engine on devices."""
from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from export.artifacts import Exported
from export.chat.templates import Name, Template
from export.conversion import blocks, convert
from export.keras_models import file as keras_file
from export.measure import litert_lm as engine
from export.targets import litert_lm, tools
from export.targets.litert_lm import Sampler
from export.tflite import file as tflite_file
from export.tflite.chunked import ENDING
from models.chunks import ChunkedDecoder
from pipelines.features.conversation import Conversation
from pipelines.features.feature import Learnt
from pipelines.features.tokenizers import byte_level, code_points
from pipelines.features.tokenizers.byte_bpe import LEFT, ByteBpe
from pipelines.features.tokenizers.tokenizer import END, START, Tokenizer
from pipelines.features.tokenizers.trained import MARK
from pipelines.targets import chats, held_out_prompts, hugging_face_tokenizer, sentencepiece_model
from pipelines.targets.held_out_prompts import Prompt
from pipelines.targets.known_tokens import check_vocabulary
from pipelines.targets.target import ExportContext, FromVariants, fresh, sizes
from pipelines.variants.record import VariantRecord
from pipelines.variants.variant import Variant

ENGINE = "litert-lm-api"


class LiteRTLM(FromVariants, name="litert_lm", shorthand="variants"):
    """One .litertlm file per variant: a Transformer that reads some tokens a call, its tokenizer, and what the engine
    LiteRT-LM must know. The TFLite file alone is beside.

    Where the engine is installed, it goes on with held-out texts, or answers held-out conversations, and its tokens are
    held against those of the trained model.

    Args:
        prefill: tokens that are read in a call, in one signature each; those above the model's length are left out.
        prompts: held-out texts whose beginnings the engine goes on with, at most.
        tokens: that it adds to each, at most.
        template: what stands around the turns of a conversation: the name of a well-known one, or the texts. A model
            that has learnt conversations has its own.
        stops: texts that end what it writes, beside the end of a text.
        sampler: how it draws tokens where an app does not say it.
    """

    extra, takes = "litert-lm", ("float32", "dynamic", "float16", "int8_weights", "int4_weights", "int4_blocks")
    estimates = ("greedy_equal", "tokens_per_second")
    prefill: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = litert_lm.LENGTHS
    prompts: int = Field(20, ge=1)
    tokens: int = Field(32, ge=1)
    template: Name | Template | None = None
    stops: list[Annotated[str, Field(min_length=1)]] = Field([])
    sampler: Sampler | None = None

    @classmethod
    def ready(cls) -> str:
        """Return what keeps the files from being made; the engine is not needed for that."""
        return tools.missing(cls.extra, ENGINE)

    def chosen(self, variants: Sequence[Variant]) -> list[str]:
        """Return the variants that are the trained model itself, in other numbers."""
        own = [variant for variant in variants if str(variant.entry_name) in self.takes]
        for title in self.variants or []:
            if any(variant.title == title and variant not in own for variant in variants):
                raise ValueError(f"litert_lm writes the trained model itself, and {title} is made in another way; name "
                                 f"{' or '.join(self.takes)}")
        return super().chosen(own)

    def export(self, context: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        read, learnt = held_out_prompts.text_of(context.data, self.title, "LiteRT-LM")
        tokenizer = tokenizer_of(read.tokenizer, learnt, talks=isinstance(read, Conversation))
        jinja, turns, stops = chats.in_litert_lm(read, self.template)
        if context.model.suffix == ".tflite":
            raise ValueError("LiteRT-LM's files are written of a Keras model, and this one is a TFLite file")
        model = keras_file.load(context.model)
        decoder = ChunkedDecoder(model)
        length = decoder.length
        check_vocabulary(decoder.vocabulary, learnt)
        never = held_out_prompts.never(read)
        manner = litert_lm.Manner(START, END, never, length, [*self.stops, *stops], jinja, turns, self.sampler)
        prompts = held_out_prompts.prompts(context.data, read, learnt, self.prompts, self.tokens, length)
        expected = held_out_prompts.greedy(model, prompts, never) if not tools.missing(self.extra) else []
        folder = fresh(context.folder / self.title)
        exported = []
        with tempfile.TemporaryDirectory() as beside:
            graph = Path(beside) / "graph"
            convert.float_graph(model, lambda one: litert_lm.functions(ChunkedDecoder(one), self.prefill), graph)
            for name in chosen:
                if name not in context.variants:
                    continue
                variant = context.variants[name]
                inside, path = folder / f"{name}.tflite", folder / f"{name}{ENDING}"
                inside.write_bytes(_written(graph, variant))
                litert_lm.pack(path, inside, tokenizer, manner)
                estimates, notes = _measured(path, prompts, expected, learnt)
                exported.append(Exported(
                    variant=name, target=self.title, path=context.relative(path), encoding=variant.encoding,
                    **sizes(path), operators=tflite_file.operators(inside.read_bytes()), runs=self.runs,
                    summary=f"{variant.summary}; for LiteRT-LM, measured token by token", estimates=estimates,
                    notes=notes))
        return exported


def _written(graph: Path, variant: VariantRecord) -> bytes:
    """Return the TFLite file of a variant. Raises ValueError."""
    if (block := variant.details.get("block")) is None:
        return convert.convert(graph, variant.encoding)
    return tflite_file.slim(blocks.quantize(convert.convert(graph, "float32"), block))


def tokenizer_of(tokenizer: Tokenizer, learnt: Learnt, *, talks: bool = False) -> litert_lm.Tokenizer:
    """Return how the engine cuts texts: by Hugging Face's library where tokens are bytes, and else by SentencePiece.

    Args:
        talks: it knows the control tokens that a template writes, see `export.chat.engines`.

    Raises:
        ValueError: neither cuts them so.
    """
    if isinstance(tokenizer, ByteBpe):
        return litert_lm.Tokenizer("hugging_face", hugging_face_tokenizer.written(tokenizer, learnt, talks=talks))
    return litert_lm.Tokenizer("sentencepiece", sentencepiece_model.written(tokenizer, learnt, talks=talks))


def _measured(path: Path, prompts: Sequence[Prompt], expected: Sequence[Sequence[int]],
              learnt: Learnt) -> tuple[dict[str, float], list[str]]:
    """Return the share of prompts that the engine goes on with as the trained model does, token for token, and its
    tokens per second; and the same in words."""
    if absent := tools.missing("litert-lm"):
        return {}, [f"not run in LiteRT-LM: {absent}"]
    if not prompts:
        return {}, ["not run in LiteRT-LM: every held-out text has tokens that are unknown"]
    written = list(engine.greedy(path, [(prompt.asked, prompt.count) for prompt in prompts]))
    equal = [one.read == prompt.tokens and _is_same(one.parts, tokens, learnt)
             for one, prompt, tokens in zip(written, prompts, expected, strict=True)]
    speed = statistics.median(one.tokens_per_second for one in written)
    return ({"greedy_equal": round(sum(equal) / len(equal), 6), "tokens_per_second": round(speed, 1)},
            [f"LiteRT-LM goes on with {sum(equal)} of {len(equal)} texts as Keras does, {speed:,.0f} tokens a second"])


def _is_same(parts: Sequence[str], tokens: Sequence[int], learnt: Learnt) -> bool:
    """Return whether texts are those of tokens; the engine leaves out a space before the first, and what is not yet a
    whole character of bytes."""
    if not tokens:
        return not parts
    if LEFT in learnt.statistics:
        text = byte_level.text(learnt.names[token] for token in tokens)
        return "".join(parts) in (text, text.rstrip(chr(code_points.REPLACEMENT)))
    first, *others = [learnt.names[token].replace(MARK, " ") for token in tokens]
    return list(parts) in ([first, *others], [first.removeprefix(" "), *others])
