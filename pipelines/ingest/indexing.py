"""Taking stock of a source: every picture is looked at once, counted, and put into a split."""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from etils import epy

from pipelines.errors import UserError
from pipelines.ingest.pictures import ImageSettings, decode
from pipelines.ingest.sources.source import Index, Part, Source, Split, Unreadable

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

CHUNK = 256


class PartIndex:
    """What was seen of one part of a source."""

    def __init__(self) -> None:
        self.positions: list[int] = []
        self.labels: list[int] = []
        self.unreadable: list[Unreadable] = []

    @property
    def seen(self) -> int:
        return len(self.positions) + len(self.unreadable)


def build_index(source: Source, image: ImageSettings, *, validation: float, test: float, seed: int,
               progress: Callable[[int], None] = lambda seen: None) -> Index:
    """Draws up the index of a source.

    Args:
        source: where the examples come from; prepared.
        image: what the model sees; a picture that cannot become that is unreadable.
        validation: share of the training part that becomes the validation split where the source has none.
        test: the same for the test split.
        seed: of the stratified draw.
        progress: called with the number of examples seen so far.

    Raises:
        UserError: data that cannot be read, a label outside the classes, or a split that would be empty.
    """
    classes, digest, seen = source.classes(), hashlib.sha256(), 0
    stocks: dict[Part, PartIndex] = {}
    for part in source.parts():
        stock = stocks[part] = PartIndex()
        digest.update(part.encode())
        try:
            for chunk in source.raw(part).batch(CHUNK).prefetch(1).as_numpy_iterator():
                _look_at(chunk, image, classes, stock, digest)
                seen += len(chunk[0])
                progress(seen)
        except tf.errors.OpError as error:
            raise UserError(source.diagnose(part, error)) from error
    splits = {part: _split(part, stock.positions, stock.labels, classes) for part, stock in stocks.items()}
    generator = np.random.default_rng(seed)
    parts: tuple[tuple[Part, float], ...] = (("test", test), ("validation", validation))
    for part, share in parts:
        if part not in splits:
            splits["train"], splits[part] = _divide(splits["train"], part, stocks["train"], share, classes, generator)
    for name, split in splits.items():
        if not split.examples:
            raise UserError(f"data: the {name} split is empty; {stocks['train'].seen:,} training examples were found. "
                            f"Add examples, or raise data.{name if name != 'train' else 'validation'}")
    ordered: dict[Part, Split] = {part: splits[part] for part in ("train", "validation", "test")}  # type: ignore[misc]
    return Index(source=source.entry_name or "", classes=classes, shape=image.shape, splits=ordered,
                 unreadable=[one for stock in stocks.values() for one in stock.unreadable], digest=digest.hexdigest())


def check_batch(batch: int, examples: int) -> None:
    """Raises UserError where there are not enough training examples for one batch."""
    if examples < batch:
        raise UserError(f"data.batch is {batch}, but there are only {examples} training examples; give a smaller batch")


def _look_at(chunk: tuple, image: ImageSettings, classes: Sequence[str], stock: PartIndex, digest: hashlib._Hash) -> None:
    pictures, labels, names = chunk
    with ThreadPoolExecutor() as pool:
        faults = list(pool.map(lambda encoded: fault(encoded, image), pictures))
    first = stock.seen
    for offset, (encoded, label, name, reason) in enumerate(zip(pictures, labels, names, faults, strict=True)):
        digest.update(hashlib.sha256(encoded).digest() + int(label).to_bytes(8, "little", signed=True))
        if not 0 <= label < len(classes):
            raise UserError(f"data: {name.decode()} has the label {label}, but there are {len(classes)} classes, 0 to {len(classes) - 1}")
        if reason:
            stock.unreadable.append(Unreadable(name=name.decode(), reason=reason))
        else:
            stock.positions.append(first + offset)
            stock.labels.append(int(label))


def fault(encoded: bytes, image: ImageSettings) -> str | None:
    """Why the bytes of a picture cannot be read; None where they can."""
    if not encoded:
        return "empty file"
    try:
        decode(tf.constant(encoded), image)
    except tf.errors.OpError as error:
        if "Unknown image file format" in error.message:
            return "not a JPEG, PNG, BMP or GIF"
        return "truncated or damaged"
    return None


def _split(part: Part, positions: Sequence[int], labels: Sequence[int], classes: Sequence[str]) -> Split:
    counts = np.bincount(np.asarray(labels, int), minlength=len(classes)).tolist()
    return Split(part=part, positions=list(positions), class_counts=counts)


def _divide(train: Split, part: Part, stock: PartIndex, share: float, classes: Sequence[str],
            generator: np.random.Generator) -> tuple[Split, Split]:
    """Takes `share` of every class out of the training split, at least one example, and never a class's last."""
    label_of = dict(zip(stock.positions, stock.labels, strict=True))
    taken: list[int] = []
    for label in range(len(classes)):
        own = [position for position in train.positions or [] if label_of[position] == label]
        count = min(len(own) - 1, max(1, round(share * len(own))))
        taken += generator.permutation(own)[:max(0, count)].tolist()
    chosen = set(taken)
    kept = [position for position in train.positions or [] if position not in chosen]
    return (_split("train", kept, [label_of[position] for position in kept], classes),
            _split("train", sorted(taken), [label_of[position] for position in sorted(taken)], classes))
