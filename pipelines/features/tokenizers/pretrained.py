"""The vocabulary of a model that was trained before."""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from etils import epy
from pydantic import Field as Setting
from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from pipelines.errors import UserError
from pipelines.features.feature import Learnt
from pipelines.features.tokenizers.byte_bpe import MERGES
from pipelines.features.tokenizers.mask import MASK, MASK_NAME
from pipelines.features.tokenizers.tokenizer import UNKNOWN, Tokenizer

with epy.lazy_imports():
    import tensorflow as tf

#: A tokenizer as a recipe writes it; its own schema would hold this one's, without end.
Cut = Annotated[Any, PlainValidator(Tokenizer.read), PlainSerializer(lambda tokenizer: tokenizer.written()),
                WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}]})]
#: Of tokenizer.json, beside the vocabulary: what else is learnt.
SCORES = "scores"


class Pretrained(Tokenizer, name="pretrained", shorthand="of"):
    """The tokens of a model that was trained before, which `model.weights: {pretrained: …}` starts from.

    Args:
        of: a recipe, which is trained first where it has not been; the folder of a run; or tokenizer.json of a bundle.
        cut: how text is cut,
        vocabulary: the file that has it, and
        digest: of that file, where it may change; all are found by `of` where not given.
    """

    of: str = Setting(min_length=1)
    cut: Cut | None = None
    vocabulary: str | None = Setting(None, min_length=1)
    digest: str | None = Setting(None, min_length=1)

    @property
    def cutter(self) -> Tokenizer:
        """Return how text is cut. Raises UserError where that is not known yet."""
        if self.cut is None:
            raise UserError(f"data: the tokens of {self.of} are not known before it is trained; litepress run trains "
                            "it first")
        cut: Tokenizer = self.cut
        return cut

    def learn(self, texts: Iterable[bytes], special: tuple[str, ...]) -> Learnt:
        """Return the vocabulary as it was learnt. Raises UserError where it cannot be read, or begins with other
        special tokens."""
        self.cutter  # noqa: B018  which says what is missing
        learnt = read(Path(str(self.vocabulary)))
        if tuple(learnt.names[:len(special)]) != special:
            raise UserError(f"data: the vocabulary of {self.of} begins with {' '.join(learnt.names[:len(special)])}, "
                            f"and texts need {' '.join(special)} here: set ends: false, or take another")
        return learnt

    def tokens(self, text: tf.Tensor, learnt: Learnt, most: int) -> tf.Tensor:
        tokens = self.cutter.tokens(text, learnt, most)
        return tf.where(tokens == MASK, UNKNOWN, tokens) if MASK_NAME in learnt.names[:MASK + 1] else tokens

    def text(self, tokens: Iterable[str]) -> str:
        return self.cutter.text(tokens)

    def texts(self, tokens: tf.Tensor) -> tf.Tensor:
        return self.cutter.texts(tokens)

    def described(self, learnt: Learnt) -> dict[str, Any]:
        return self.cutter.described(learnt)


def read(path: Path) -> Learnt:
    """Return the vocabulary in an index of ingest, or in a bundle's tokenizer.json. Raises UserError."""
    try:
        content = json.loads(path.read_bytes())
        if "learnt" in content:
            return Learnt.model_validate(content["learnt"]["tokens"])
        return shipped(content)
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"data: {path} has no vocabulary; give a recipe, a run of one, or tokenizer.json of a "
                        "bundle") from None


def shipped(content: Mapping[str, Any]) -> Learnt:
    """Return the vocabulary in the content of a bundle's tokenizer.json. Raises KeyError, TypeError or ValueError where
    there is none."""
    statistics = {**({SCORES: content[SCORES]} if SCORES in content else {}), **content.get(MERGES, {})}
    return Learnt(names=content["vocabulary"], statistics=statistics)
