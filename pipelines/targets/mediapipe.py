"""Files for MediaPipe's TextClassifier and TextEmbedder, which cut texts themselves, as BERT does."""
from __future__ import annotations

from pathlib import Path

from export.artifacts import Exported
from export.targets import mediapipe
from export.tflite import file as tflite_file
from export.tflite import phone
from pipelines.features.text import Text
from pipelines.features.tokenizers.pretrained import Pretrained
from pipelines.features.tokenizers.regex import Regex
from pipelines.features.tokenizers.wordpiece import WordPiece
from pipelines.targets.runtimes import score_calibration
from pipelines.targets.target import ExportContext, FromVariants, sizes
from pipelines.variants.record import VariantRecord

#: What opens the files, by their task.
READERS = {"text_classification": "TextClassifier", "sentence_embedding": "TextEmbedder",
           "sentence_similarity": "TextEmbedder"}
TOKENS = "tokens"


class MediaPipe(FromVariants, name="mediapipe", shorthand="variants"):
    """TFLite files of texts for MediaPipe's TextClassifier and TextEmbedder, where the tokenizer is wordpiece.

    They take what MediaPipe makes of a text as BERT has it, and have the vocabulary behind them.

    Of other tokenizers it opens regex, and for that the files of `litert`.
    """

    takes = ("float32", "int8", "float16", "dynamic", "int8_weights")

    def export_one(self, context: ExportContext, variant: VariantRecord, folder: Path) -> Exported:
        reader, text, pieces = _text(context)
        path = folder / f"{variant.name}.tflite"
        about = context.about.model_copy(update={"calibration": score_calibration(context, variant)})
        content = phone.with_unsigned_output(context.file(variant.name).read_bytes())
        path.write_bytes(mediapipe.written(content, about, pieces, ends=text.ends))
        return Exported(
            variant=variant.name, target=self.title, path=context.relative(path), encoding=variant.encoding,
            integer=variant.integer, **sizes(path), operators=tflite_file.operators(path.read_bytes()), runs=self.runs,
            summary=f"{variant.summary}; MediaPipe's {reader} cuts its texts")


def _text(context: ExportContext) -> tuple[str, Text, list[str]]:
    """Return what opens the file, how texts are cut, and the vocabulary. Raises ValueError where MediaPipe does not cut
    them so."""
    task, tokens = str(context.data.task.entry_name), context.data.features.get(TOKENS)
    if task not in READERS or not isinstance(tokens, Text):
        raise ValueError(f"MediaPipe's tasks give a class or a vector of a text, and this is {task}; leave the target "
                         "mediapipe out")
    reader = READERS[task]
    tokenizer = tokens.tokenizer.cutter if isinstance(tokens.tokenizer, Pretrained) else tokens.tokenizer
    if isinstance(tokenizer, Regex):
        raise ValueError(f"MediaPipe's {reader} opens the files of the target litert where the tokenizer is regex; "
                         "leave the target mediapipe out")
    if not isinstance(tokenizer, WordPiece):
        raise ValueError(f"MediaPipe's {reader} does not cut texts as {tokenizer.entry_name} does; give "
                         "data.tokens.tokenizer: wordpiece, or regex")
    if not tokenizer.lower:
        raise ValueError(f"MediaPipe's {reader} makes small letters of capitals; leave out lower: false of "
                         "data.tokens.tokenizer")
    return reader, tokens, list(context.data.index.learnt[TOKENS].names)
