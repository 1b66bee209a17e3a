"""Files of language models for llama.cpp."""
from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from export.artifacts import Exported
from export.keras_models import file as keras_file
from export.measure import llama_cpp
from export.targets import gguf, tools
from pipelines.features.feature import Learnt
from pipelines.features.running_text import RunningText
from pipelines.features.tokenizers.tokenizer import END
from pipelines.targets import gguf_network, gguf_vocabulary, held_out_prompts
from pipelines.targets.held_out_prompts import Prompt
from pipelines.targets.known_tokens import check_vocabulary
from pipelines.targets.target import ExportContext, Target, fresh, sizes
from pipelines.variants.variant import Variant

#: What the engine is in, which files are made without.
ENGINE = "xllamacpp"


class Gguf(Target, name="gguf", shorthand="weights"):
    """A GGUF file of a Transformer and its tokenizer for each way to write the weights, which llama.cpp, and what is
    built on it, opens.

    Where llama.cpp is installed, it goes on with held-out texts, or answers held-out conversations, and its tokens are
    held against those of the trained model.

    Args:
        weights: how they are written, a file each.
        prompts: held-out texts whose beginnings the engine goes on with, at most.
        tokens: that it adds to each, at most.
    """

    extra, runs = "gguf", False
    estimates = ("greedy_equal", "tokens_per_second")
    weights: list[gguf.Numbers] = Field(["float32", "q8_0"], min_length=1)
    prompts: int = Field(20, ge=1)
    tokens: int = Field(32, ge=1)

    @classmethod
    def ready(cls) -> str:
        """Return what keeps the files from being made; the engine is not needed for that."""
        return tools.missing(cls.extra, ENGINE)

    def chosen(self, variants: Sequence[Variant]) -> list[str]:
        """Return the ways to write the trained model itself; what compression makes of it is not taken."""
        return list(dict.fromkeys(self.weights))

    def export(self, context: ExportContext, chosen: Sequence[str]) -> list[Exported]:
        read, learnt = held_out_prompts.text_of(context.data, self.title, "llama.cpp")
        words, special = gguf_vocabulary.vocabulary(read, learnt), gguf_vocabulary.special(read)
        if context.model.suffix == ".tflite":
            raise ValueError("GGUF files are written of a Keras model, and this one is a TFLite file")
        model = keras_file.load(context.model)
        network = gguf_network.network(model)
        check_vocabulary(len(network.tensors[gguf.EMBEDDING]), learnt, exact=True)
        numbers = [one for one in dict.fromkeys(self.weights) if one in chosen]
        for one in numbers:
            gguf.check(network, one)
        length = int(model.inputs[0].shape[1])
        absent = tools.missing(self.extra)
        prompts = [] if absent else held_out_prompts.prompts(context.data, read, learnt, self.prompts, self.tokens,
                                                             length)
        expected = held_out_prompts.greedy(model, prompts, special.never)
        folder = fresh(context.folder / self.title)
        exported = []
        for one in numbers:
            path = folder / f"{one}{gguf.ENDING}"
            gguf.write(path, context.about.name, network, words, special, one)
            estimates, notes = _measured(path, _as_read(prompts, words, read, learnt), expected, length, absent)
            exported.append(Exported(
                variant=one, target=self.title, path=context.relative(path), encoding=one, **sizes(path),
                runs=self.runs, summary=gguf.SUMMARY[one], estimates=estimates, notes=notes))
        return exported


def _as_read(prompts: Sequence[Prompt], words: gguf.Vocabulary, read: RunningText, learnt: Learnt) -> list[Prompt]:
    """Return prompts as the engine is given them: where it neither makes capitals small nor merges spaces itself, that
    is done to texts before; to conversations its template does it."""
    if words.kind != "llama":
        return list(prompts)
    return [one if not isinstance(one.asked, str) else
            Prompt(read.tokenizer.text(learnt.names[token] for token in one.tokens), one.tokens, one.count)
            for one in prompts]


def _measured(path: Path, prompts: Sequence[Prompt], expected: Sequence[Sequence[int]], length: int,
              absent: str) -> tuple[dict[str, float], list[str]]:
    """Return the share of prompts that the engine goes on with as the trained model does, token for token, and its
    tokens per second; and the same in words.

    Args:
        absent: what keeps the engine from running.
    """
    if absent:
        return {}, [f"not run in llama.cpp: {absent}"]
    if not prompts:
        return {}, ["not run in llama.cpp: every held-out text has tokens that are unknown"]
    written = list(llama_cpp.greedy(path, [(prompt.asked, prompt.count) for prompt in prompts], length))
    equal = [one.read == prompt.tokens and [token for token in one.tokens if token != END] == list(tokens)
             for one, prompt, tokens in zip(written, prompts, expected, strict=True)]
    estimates = {"greedy_equal": round(sum(equal) / len(equal), 6)}
    speeds = [one.tokens_per_second for one in written if len(one.tokens) > 1]
    estimates |= {"tokens_per_second": round(statistics.median(speeds), 1)} if speeds else {}
    return estimates, [f"llama.cpp goes on with {sum(equal)} of {len(equal)} texts as Keras does"]
