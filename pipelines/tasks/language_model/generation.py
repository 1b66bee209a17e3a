"""What is asked of a server's Transformer: to go on with texts, with what was read of each kept, at once or some tokens
a call."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from etils import epy

from export.signature import Function, Signature, Tensor
from models.generation import BatchDecoder
from pipelines.features.running_text import RunningText
from pipelines.features.tokenizers.tokenizer import END, PADDING, START, UNKNOWN
from pipelines.tasks.language_model.of_texts import COUNT, GENERATE, GENERATED
from pipelines.tasks.language_model.sampling import chances, drawn
from pipelines.tasks.text_serving import TEXT, text_tensor

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    from pipelines.ingest.data import Data

#: The signatures beside `generate`: all settings at once; and the same in two, for a server that hands on each token.
SAMPLE, PREFILL, DECODE = "sample", "prefill", "decode"
#: `prefill` of prompts in pieces, with a control token behind them or none: of conversations, in which what people say
#: must not become one.
PREFILL_PIECES, PIECES, BEHIND = "prefill_pieces", "pieces", "behind"
#: What stands behind a piece, by number.
CONTROLS = (PADDING, START, END)
#: What they give beside the text: what was added alone, how many tokens there are, and why no more were added.
ADDED, PROMPT_TOKENS, ADDED_TOKENS, REASON = "added", "prompt_tokens", "added_tokens", "finish_reason"
#: Why: the text is at its end; there are as many tokens as were asked for, or as there is room for; the prompt leaves
#: no room.
AT_END, AT_LENGTH, TOO_LONG = "stop", "length", "prompt_too_long"
#: What `decode` takes from the call before: the tokens, how many of them there are, how many the prompt has, and
#: whether the text has come to its end.
TOKENS, SIZE, BEGUN, ENDED = "tokens", "size", "prompt_size", "ended"
STEPS = "steps"

SETTINGS = (
    Tensor(name="temperature", dtype="float32", shape=(),
           meaning="logits are divided by it before a token is drawn; 0: the likeliest one"),
    Tensor(name="top_k", dtype="int32", shape=(), meaning="so many of the likeliest tokens are drawn from; 0: all"),
    Tensor(name="top_p", dtype="float32", shape=(), meaning="of the likeliest tokens so many are drawn from that their "
                                                            "probabilities add up to this; 1: all"),
    Tensor(name="seed", dtype="int64", shape=(), meaning="of what is drawn"))


def functions(model: Any, data: Data, tokens: str, kind: type[Generation] | None = None) -> list[Function]:
    """Return the functions of a Transformer; none of a model with other layers.

    Args:
        tokens: the name of what it reads.
        kind: how it goes on with texts; Generation where not given.
    """
    try:
        return (kind or Generation)(model, data, tokens).functions()
    except ValueError:
        return []


class Generation:
    """A Transformer that goes on with texts.

    A text is tokens, int32 (batch, length + 1): START, those of the prompt, those that were added, 0 behind; and how
    many these are. All but the last of them have been read.

    Args:
        model: of `gpt` or `llama`.
        tokens: the name of what it reads.

    Raises:
        ValueError: it has other layers.
    """

    #: What a prompt is.
    begins = "how a text begins"

    def __init__(self, model: Any, data: Data, tokens: str):
        feature, self.learnt = data.features[tokens], data.index.learnt[tokens]
        assert isinstance(feature, RunningText)
        self.decoder, self.feature = BatchDecoder(model), feature
        self.length = feature.length
        self.end = END if feature.ends else -1
        #: Names of what is kept of the tokens that were read, keys and values of each block in turn.
        self.kept = [f"{part}_{number}" for number in range(self.decoder.depth) for part in ("key", "value")]
        self.barred = np.zeros(len(self.learnt.names), np.float32)
        self.barred[[PADDING, UNKNOWN, START]] = -np.inf

    def functions(self) -> list[Function]:
        """Return all functions."""
        prompt = text_tensor(meaning=f"{self.begins}, UTF-8, with room behind it: fewer than {self.length:,} tokens")
        count = Tensor(name=COUNT, dtype="int32", shape=(), meaning="tokens that are added at most")
        whole = text_tensor(GENERATED, "the text with what is added, UTF-8")
        answers = (whole, text_tensor(ADDED, "what is added, UTF-8"), _number(PROMPT_TOKENS, "of the prompt"),
                   _number(ADDED_TOKENS, "that were added"),
                   text_tensor(REASON, f"{AT_END}: the text is at its end; {AT_LENGTH}: no more were asked for, or "
                                       f"there is no more room; {TOO_LONG}: the prompt leaves none"))
        state = self._state()
        steps = Tensor(name=STEPS, dtype="int32", shape=(), meaning="tokens that are added in this call at most")
        read = (*state, whole, _number(PROMPT_TOKENS, "of the prompt"))
        pieces = (Tensor(name=PIECES, dtype="string", shape=(None,), role="text", meaning="how a text begins, UTF-8"),
                  Tensor(name=BEHIND, dtype="int32", shape=(None,),
                         meaning="what stands behind each piece: 0 nothing, 1 the start token, 2 the end token"))
        return [
            Function(Signature(name=GENERATE, inputs=(prompt, count), outputs=(whole,)), self._generate),
            Function(Signature(name=SAMPLE, inputs=(prompt, count, *SETTINGS), outputs=answers), self._sample),
            Function(Signature(name=PREFILL, inputs=(prompt,), outputs=read), self._prefill),
            Function(Signature(name=PREFILL_PIECES, inputs=pieces, outputs=read), self._prefill_pieces),
            Function(Signature(name=DECODE, inputs=(steps, count, *SETTINGS, *state), outputs=(*answers, *state)),
                     self._decode)]

    def _state(self) -> tuple[Tensor, ...]:
        """Return what `decode` takes from the call before."""
        return (Tensor(name=TOKENS, dtype="int32", shape=(self.length + 1,), role="tokens", meaning="so far"),
                _number(SIZE, "so far, with the one that stands before a text"), _number(BEGUN, "of these before any "
                                                                                                "was added"),
                Tensor(name=ENDED, dtype="bool", shape=(), meaning="whether the text is at its end"),
                *(Tensor(name=name, dtype="float32", shape=self.decoder.cache, role="state",
                         meaning="of tokens that were read") for name in self.kept))

    def _generate(self, **tensors: Any) -> dict[str, Any]:
        begun = self._begun(tensors[TEXT])
        after = self._going_on(begun, tensors[COUNT], tensors[COUNT],
                               lambda logits, size: tf.argmax(logits, axis=-1, output_type=tf.int32))
        return {GENERATED: self._texts(after[TOKENS])}

    def _sample(self, **tensors: Any) -> dict[str, Any]:
        begun = self._begun(tensors[TEXT])
        return self._answers(self._going_on(begun, tensors[COUNT], tensors[COUNT], self._chooses(tensors)))

    def _prefill(self, **tensors: Any) -> dict[str, Any]:
        return self._as_read(self._begun(tensors[TEXT]))

    def _prefill_pieces(self, **tensors: Any) -> dict[str, Any]:
        rows = tf.map_fn(self._of_pieces, (tensors[PIECES], tensors[BEHIND]), fn_output_signature=_row())
        return self._as_read(self._read(rows))

    def _as_read(self, begun: dict[str, Any]) -> dict[str, Any]:
        return {**begun, GENERATED: self._texts(begun[TOKENS]), PROMPT_TOKENS: begun[BEGUN] - 1}

    def _decode(self, **tensors: Any) -> dict[str, Any]:
        before = {tensor.name: tensors[tensor.name] for tensor in self._state()}
        after = self._going_on(before, tensors[COUNT], tensors[STEPS], self._chooses(tensors))
        return {**after, **self._answers(after)}

    def _chooses(self, tensors: Any) -> Any:
        temperature, top_k, top_p, seed = (tensors[tensor.name] for tensor in SETTINGS)
        at_places = chances(seed, self.length + 1)

        def choose(logits: Any, size: Any) -> Any:
            chance = tf.gather(at_places, tf.minimum(size, self.length), batch_dims=1)
            return drawn(logits, temperature, top_k, top_p, chance)

        return choose

    def _begun(self, prompts: Any) -> dict[str, Any]:
        """Return texts of which the prompt has been read; of one that leaves no room its first tokens."""
        return self._read(tf.map_fn(lambda one: self.prompt(one)[:self.length], prompts, fn_output_signature=_row()))

    def prompt(self, text: Any) -> Any:
        """Return the first tokens of a prompt, int32 (tokens,), of what is asked, a string: by default of the text
        itself."""
        return self._cut(text)

    def _cut(self, text: Any) -> Any:
        return self.feature.tokenizer.tokens(text, self.learnt, self.length)[:self.length]

    def _of_pieces(self, pieces: tuple[Any, Any]) -> Any:
        """Return the first tokens of pieces, string (pieces,), and of what stands behind them."""
        def tokens(piece: tuple[Any, Any]) -> Any:
            text, control = piece
            return tf.concat([self._cut(text), tf.fill([tf.cast(control != PADDING, tf.int32)], control)], axis=0)

        texts, behind = pieces
        rows = tf.map_fn(tokens, (texts, tf.gather(tf.constant(CONTROLS), behind)), fn_output_signature=_row())
        return rows.flat_values[:self.length]

    def _read(self, rows: Any) -> dict[str, Any]:
        """Return texts of which the prompts' tokens, ragged int32 (batch, tokens), have been read."""
        own = rows.to_tensor(PADDING, shape=(None, self.length))
        tokens = tf.pad(own, [[0, 0], [1, 0]], constant_values=START)
        size = tf.cast(rows.row_lengths(), tf.int32) + 1
        caches = self.decoder.read_all(tokens, tf.reduce_max(tf.concat([size, [0]], axis=0)) - 1)
        return {TOKENS: tokens, SIZE: size, BEGUN: size, ENDED: tf.zeros_like(size, tf.bool),
                **dict(zip(self.kept, caches, strict=True))}

    def _going_on(self, before: dict[str, Any], count: Any, steps: Any, choose: Any) -> dict[str, Any]:
        """Return texts with more tokens.

        Args:
            count: how many are added to the prompt at most, int32 (batch,).
            steps: how many are added in this call at most, int32 (batch,).
            choose: from logits, (batch, vocabulary), and the places of the tokens, int32 (batch,), to tokens.
        """
        begun, rows = before[BEGUN], tf.range(tf.shape(before[SIZE])[0])
        last = tf.minimum(begun + tf.clip_by_value(count, 0, self.length),
                          before[SIZE] + tf.clip_by_value(steps, 0, self.length))
        last = tf.where(begun > self.length, begun, tf.minimum(last, self.length + 1))

        def step(tokens: Any, size: Any, ended: Any, caches: Any) -> tuple[Any, ...]:
            place = tf.clip_by_value(size - 1, 0, self.length - 1)[:, None]
            x, after = self.decoder.read(tf.gather(tokens, place, batch_dims=1), place, caches)
            token = choose(self.decoder.logits(x)[:, 0] + self.barred, size)
            going = (size < last) & ~ended
            ended |= going & (token == self.end)
            going &= ~ended
            here = tf.stack([rows, tf.minimum(size, self.length)], axis=1)
            kept = tf.gather_nd(tokens, here)
            tokens = tf.tensor_scatter_nd_update(tokens, here, tf.where(going, token, kept))
            return tokens, size + tf.cast(going, tf.int32), ended, after

        begin = (before[TOKENS], before[SIZE], before[ENDED], [before[name] for name in self.kept])
        tokens, size, ended, caches = tf.while_loop(
            lambda tokens, size, ended, *_: tf.reduce_any((size < last) & ~ended), step, begin)
        return {TOKENS: tokens, SIZE: size, BEGUN: begun, ENDED: ended, **dict(zip(self.kept, caches, strict=True))}

    def _answers(self, after: dict[str, Any]) -> dict[str, Any]:
        """Return what is answered of texts."""
        tokens, begun = after[TOKENS], after[BEGUN]
        prompts = self._texts(tf.where(tf.range(self.length + 1) < begun[:, None], tokens, PADDING))
        whole = self._texts(tokens)
        behind = tf.minimum(tf.strings.length(prompts), tf.strings.length(whole))
        reason = tf.where(after[ENDED], AT_END, tf.where(begun > self.length, TOO_LONG, AT_LENGTH))
        added = tf.strings.substr(whole, behind, tf.strings.length(whole) - behind)
        return {GENERATED: whole, ADDED: added, PROMPT_TOKENS: begun - 1, ADDED_TOKENS: after[SIZE] - begun,
                REASON: reason}

    def _texts(self, tokens: Any) -> Any:
        """Return what tokens read, string (batch,), those that stand for no text left out."""
        return self.feature.texts(tokens, self.learnt)


def _row() -> tf.RaggedTensorSpec:
    """Return what the tokens of a text are, int32 (tokens,)."""
    return tf.RaggedTensorSpec([None], tf.int32, 0)


def _number(name: str, meaning: str) -> Tensor:
    return Tensor(name=name, dtype="int32", shape=(), role="length", meaning=f"tokens {meaning}")
