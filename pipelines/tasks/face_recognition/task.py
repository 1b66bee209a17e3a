"""Face recognition, and that of any other identities: embeddings whose cosines say whether two pictures are of one."""
from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from etils import epy
from pydantic import Field, PrivateAttr

from export.signature import Arrays, Tensor
from models.embedding import EMBEDDING
from models.identity_head import COSINES, with_identities
from pipelines.errors import UserError
from pipelines.features.array import Array
from pipelines.features.feature import Field as SourceField
from pipelines.features.image import Image
from pipelines.features.label import Label
from pipelines.ingest.index import Index
from pipelines.ingest.section import DataSection
from pipelines.tasks.face_recognition.alignment import Aligned, Places, places_of
from pipelines.tasks.face_recognition.measure import Protocol, Verification
from pipelines.tasks.task import Evaluation, Features, Metric, Task
from pipelines.training.learners.supervised import Objective
from pipelines.training.losses import Loss, MetricLearning, Triplet
from pipelines.training.model_section import ModelSection

with epy.lazy_imports():
    import numpy as np
    import tensorflow as tf

if TYPE_CHECKING:
    import keras

    from pipelines.ingest.data import Data

IMAGE, LABEL, PAIRS, GROUP = "image", "label", "pairs", "group"
#: Numbers of an embedding that a line shows.
SHOWN = 4
#: The margin between distances of embeddings where a model is trained on without its head.
MARGIN = 0.3


class FaceRecognition(Task, name="face_recognition"):
    """Pictures as embeddings of length 1: the larger the cosine of two, the surer they are of one identity.

    Identities are divided whole: nobody who is tested on, or validated on, is learnt from. While the model trains it
    has a head with a vector for each identity of the training split, which does not ship.

    Args:
        far: share of the pairs of two identities that may be taken for one, at which `tar_at_far` is measured.
        most_pairs: of each kind that are drawn from the test split, at most, where the data list none.
        folds: of the pairs that are drawn; the threshold of one is found on the others.
        pair_seed: of the draw.
        aligned: where key points lie in the pictures, by name, y and x as shares, or arcface, as in its paper's code:
            `identify` turns the faces that a detector finds so that theirs do. Pictures of the data must be so already.
    """

    inputs, targets, pairs, split = {IMAGE: Image}, {LABEL: Label}, {EMBEDDING: LABEL}, "by_class"
    metrics = (Metric(name="tar_at_far", label="TAR"), Metric(name="eer", label="EER", better="lower"),
               Metric(name="verification_accuracy", label="verification"), Metric(name="rank_1", label="rank-1"))
    watched = (Metric(name="pairs_in_order", label="pairs in order"),)
    loss = "arcface"
    ranked = True
    worst_caption = ("The best, the median and the worst test pictures: by how much their nearest picture of another "
                     "identity is nearer than that of their own, among those asked with them")
    far: float = Field(0.01, gt=0, lt=1)
    most_pairs: int = Field(3000, ge=10)
    folds: int = Field(10, ge=2)
    pair_seed: int = Field(0, ge=0)
    aligned: Aligned | None = None
    _model: ModelSection | None = PrivateAttr(None)

    def of_model(self, section: ModelSection) -> FaceRecognition:
        task = self.model_copy()
        task._model = section
        return task

    def features_of(self, section: DataSection, fields: Mapping[str, SourceField]) -> tuple[Features, Features]:
        """Return the image and the identity, and the pairs and the group of a picture where the source has them."""
        inputs, targets = super().features_of(section, fields)
        if PAIRS in fields:
            targets[PAIRS] = Array(dtype="int32")
        if GROUP in fields:
            targets[GROUP] = Label()
        return inputs, targets

    def dimensions(self, index: Index) -> dict[str, Any]:
        _check_apart(index)
        if counts := index.counts.get("test", {}).get(LABEL):
            _check_test(counts, index.counts["train"][LABEL])
        return {"input_shape": index.inputs[IMAGE].shape}

    def outputs(self, index: Index) -> tuple[Tensor, ...]:
        size = self._model.settings.get("size") if self._model is not None else None
        if size is None:
            raise UserError("model.builder: face_recognition is learnt by a builder of ours, which says how long an "
                            "embedding is: give mobilefacenet, iresnet50 or another that litepress list models names")
        return (Tensor(name=EMBEDDING, dtype="float32", shape=(size,), role="embedding",
                       meaning="of length 1; the cosine of two is the sum of their products"),)

    def with_head(self, model: keras.Model, loss: Loss, index: Index) -> keras.Model:
        if not any(part.of_identities for part in loss.parts):
            return model
        return with_identities(model, len(_trained(index)))

    def objective(self, loss: Loss, index: Index) -> Objective:
        """Return the loss on embeddings and, of those losses that are about identities, on their cosines.

        Where there is no head, as while a variant is trained, distances between embeddings stand in for the latter. Of
        identities that are not trained on, as those of the validation split, nothing is learnt: their loss is 0.
        """
        terms = [(weight, part.of_identities, part.build((), "embedding")) for weight, part in loss.terms]
        if unfit := next((part for part in loss.parts if not part.of_identities
                          and not isinstance(part, MetricLearning)), None):
            raise UserError(f"train.loss: {unfit.entry_name} is not for embeddings; give arcface, cosface, sphereface, "
                            "softmax, triplet or contrastive")
        apart = Triplet(margin=MARGIN).build((), "embedding")
        columns = _trained(index)

        def total(inputs: Any, targets: Any, outputs: Any) -> Any:
            added = []
            for weight, of_identities, compare in terms:
                if of_identities and COSINES in outputs:
                    value = compare(tf.gather(targets[LABEL], columns, axis=-1), outputs[COSINES])
                else:
                    value = (apart if of_identities else compare)(targets[LABEL], outputs[EMBEDDING])
                added.append(weight * value)
            return sum(added)

        return total

    def watch(self, index: Index) -> dict[str, Callable[[Any, Any], Any]]:
        return {"pairs_in_order": lambda targets, outputs: pairs_in_order(targets[LABEL], outputs[EMBEDDING])}

    def measure(self, index: Index) -> Verification:
        protocol = Protocol(self.far, self.most_pairs, self.folds, self.pair_seed)
        has_groups = GROUP in index.targets
        return Verification(protocol, LABEL, PAIRS if PAIRS in index.targets else None,
                            GROUP if has_groups else None, index.names(GROUP) if has_groups else ())

    def in_words(self, outputs: Arrays, index: Index) -> list[str]:
        return [f"{' '.join(f'{number:.3f}' for number in vector[:SHOWN])} … ({len(vector)} numbers)"
                for vector in outputs[EMBEDDING]]

    def sentence(self, index: Index, evaluation: Evaluation) -> str:
        height, width, _ = index.inputs[IMAGE].shape
        return (f"It makes embeddings of images of {height} x {width} pixels, whose cosines say whether two are of one "
                f"identity. Of identities that it was not trained on, {evaluation.metrics['tar_at_far']:.2%} of the "
                f"pairs of one are recognized where {self.far:g} of the pairs of two are taken for one; the equal "
                f"error rate is {evaluation.metrics['eer']:.2%}.")

    @property
    def places(self) -> Places:
        return places_of(self.aligned)

    def labels(self, index: Index) -> list[str]:
        """Return none: the identities of training are not what a file tells apart."""
        return []

    def title(self, targets: Arrays, outputs: Arrays, position: int, wrong: float, data: Data) -> str:
        return f"{data.index.names(LABEL)[int(targets[LABEL][position])]}\n{wrong:+.2f}"

    def notes(self, data: Data) -> list[str]:
        counts = data.index.counts
        known = {part: sum(count > 0 for count in counts[part][LABEL]) for part in counts}
        return ["identities: " + ", ".join(f"{number:,} {part}" for part, number in known.items())]


def pairs_in_order(targets: Any, embeddings: Any) -> Any:
    """Return, for each example of a batch, the share of its pairs with one of its own and one of another identity in
    which its own is nearer: the area under its ROC curve, (batch,); one half where it has no such pair.

    Args:
        targets: one-hot, (batch, identities).
        embeddings: of length 1, (batch, size).
    """
    cosines = tf.matmul(embeddings, embeddings, transpose_b=True)
    count = tf.shape(cosines)[0]
    itself = tf.eye(count, dtype=cosines.dtype)
    alike = tf.cast(tf.matmul(targets, targets, transpose_b=True), cosines.dtype) - itself
    # ranks from 1 among the others of the batch; the example itself comes last
    ranks = tf.cast(tf.argsort(tf.argsort(cosines + 10.0 * itself)), cosines.dtype) + 1.0
    own = tf.reduce_sum(alike, -1)
    others = tf.cast(count, cosines.dtype) - 1.0 - own
    above = tf.reduce_sum(ranks * alike, -1) - own * (own + 1.0) / 2.0
    return tf.where(own * others > 0, tf.math.divide_no_nan(above, own * others), 0.5 * tf.ones_like(own))


def _trained(index: Index) -> list[int]:
    """Return the numbers of the identities that the training split has."""
    return [number for number, count in enumerate(index.counts["train"][LABEL]) if count]


def _check_apart(index: Index) -> None:
    """Raise UserError where an identity is in two splits."""
    counts = {part: np.array(of_targets[LABEL]) for part, of_targets in index.counts.items() if LABEL in of_targets}
    for one, other in itertools.combinations(counts, 2):
        both = np.flatnonzero((counts[one] > 0) & (counts[other] > 0))
        if len(both):
            raise UserError(f"data: {len(both):,} identities are in the splits {one} and {other}, among them "
                            f"{index.names(LABEL)[int(both[0])]}: who is tested must not be learnt from; move the "
                            "pictures of each into one split")


def _check_test(test: list[int], train: list[int]) -> None:
    """Raise UserError where the test split makes no pairs of one identity, or none of two."""
    counts = np.array(test)
    if (counts >= 2).any() and (counts > 0).sum() >= 2:
        return
    if max(*test, *train) < 2:
        raise UserError(f"data: each of the {sum(test) + sum(train)} identities has one picture, and two of one are "
                        "compared: add pictures of them")
    raise UserError(f"data: the test split has {int((counts > 0).sum())} identities, {int((counts >= 2).sum())} of "
                    "them with two pictures or more, and pairs of one identity and of two are compared: raise "
                    "data.test, or add pictures")
