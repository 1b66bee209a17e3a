"""What embeddings are worth: pairs told apart, pictures recognized, and the same by group."""
from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etils import epy

from export.signature import Arrays
from models.embedding import EMBEDDING
from pipelines.figures import verification as drawings
from pipelines.tasks.evaluation import Evaluation, Figure, Table, rounded
from pipelines.tasks.face_recognition import pairs, verification
from pipelines.tasks.face_recognition.pairs import Pairs

with epy.lazy_imports():
    import numpy as np

#: Shares of false acceptances for which a threshold is given, where there are pairs enough to tell.
FARS = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
THRESHOLD = "threshold"
Row = list[str | int | float]


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How embeddings are measured.

    Args:
        far: share of false acceptances at which true ones are counted.
        most: pairs of each kind that are drawn, at most, where the data list none.
        folds: of the pairs that are drawn.
        seed: of the draw.
    """

    far: float
    most: int
    folds: int
    seed: int


def threshold_name(far: float) -> str:
    """Return what the metric is called that holds the threshold for a share of false acceptances: from which on a
    picture is taken for somebody who is enrolled, with one picture or with the mean direction of several."""
    return f"{THRESHOLD}_{far:g}"


class Verification:
    """Collects embeddings, 4 bytes a number, and compares pairs of them.

    Args:
        label: name of the identities among the targets.
        listed: name of the pairs that the data list, or of none.
        group: name of the groups, or of none, and what they are called.
    """

    def __init__(self, protocol: Protocol, label: str, listed: str | None = None, group: str | None = None,
                 groups: Sequence[str] = ()):
        self.protocol = protocol
        self.label, self.listed, self.group = label, listed, group
        self.groups = list(groups)
        self.embeddings: list[np.ndarray] = []
        self.targets: dict[str, list[np.ndarray]] = {name: [] for name in (label, listed, group) if name}

    def add(self, targets: Arrays, outputs: Arrays) -> np.ndarray:
        """Take a batch; return by how much the nearest of another identity is nearer than the nearest of the same, in
        the batch: cosines, NaN where there is no other picture of the identity."""
        vectors = unit(outputs[EMBEDDING])
        self.embeddings.append(vectors)
        for name, kept in self.targets.items():
            kept.append(targets[name])
        same = targets[self.label][:, None] == targets[self.label][None]
        cosines = vectors @ vectors.T
        alike = np.where(same & ~np.eye(len(vectors), dtype=bool), cosines, -np.inf).max(axis=1)
        other = np.where(same, -np.inf, cosines).max(axis=1)
        measured = np.isfinite(alike) & np.isfinite(other)
        return np.where(measured, np.where(measured, other, 0) - np.where(measured, alike, 0), np.nan)

    def result(self, folder: Path | None = None) -> Evaluation:
        vectors = np.concatenate(self.embeddings)
        kept = {name: np.concatenate(parts) for name, parts in self.targets.items()}
        identities, protocol = kept[self.label], self.protocol
        chosen = (pairs.listed(kept[self.listed], identities) if self.listed else
                  pairs.drawn(identities, protocol.most, protocol.folds, protocol.seed))
        cosines = verification.cosines_of(vectors, chosen.first, chosen.second)
        if chosen.alike.all() or not chosen.alike.any():
            return self._of_one_kind(vectors, identities)
        curve = verification.curve(cosines, chosen.alike)
        judged = verification.accuracies(cosines, chosen.alike, chosen.fold)
        tar, threshold = curve.at_far(protocol.far)
        values: dict[str, Any] = {
            "tar_at_far": tar, "eer": curve.equal_error_rate, "verification_accuracy": judged.mean(),
            "rank_1": verification.rank_1(vectors, identities), THRESHOLD: threshold}
        others = int((~chosen.alike).sum())
        levels = [far for far in FARS if far * others >= 1]
        strangers = verification.of_strangers(vectors, identities, protocol.seed)
        # who is enrolled may be so with one picture or with several
        enrolled = {far: max(curve.at_far(far)[1], verification.threshold_for(strangers, far)) for far in levels}
        # rounded up: one that is rounded down lets one more in
        values |= {threshold_name(far): math.ceil(level * 1e6) / 1e6 for far, level in enrolled.items()}
        tables = [self._levels(curve, enrolled)]
        if self.group:
            tables.append(self._by_group(cosines, chosen, kept[self.group], threshold))
        return Evaluation(
            metrics=rounded(values), tables=tables,
            figures=self._draw(folder, curve, cosines, chosen, threshold) if folder is not None else [],
            limits=self._limits(len(np.unique(identities)), chosen, judged, threshold),
            remarks=[f"{int(chosen.alike.sum()):,} pairs of one, {others:,} of two"])

    def _of_one_kind(self, vectors: np.ndarray, identities: np.ndarray) -> Evaluation:
        """Return what can be said of a few examples, such as those of `litepress check`: nothing."""
        names = ("tar_at_far", "eer", "verification_accuracy", "rank_1")
        return Evaluation(metrics=dict.fromkeys(names, 0.0),
                          limits=[f"The {len(vectors)} pictures of {len(np.unique(identities))} identities make no "
                                  "pairs of both kinds."])

    def _levels(self, curve: verification.Curve, enrolled: Mapping[float, float]) -> Table:
        rows: list[Row] = []
        for far, level in enrolled.items():
            tar, threshold = curve.at_far(far)
            rows.append([f"{far:g}", round(tar, 6), round(threshold, 6), round(level, 6)])
        return Table(title="Thresholds", rows=rows, columns=[
            "false acceptances", "true acceptances", "threshold of pairs", "of a gallery"])

    def _by_group(self, cosines: np.ndarray, chosen: Pairs, groups: np.ndarray, threshold: float) -> Table:
        """Return the table of pairs within each group: how one threshold for all treats it."""
        rows: list[Row] = []
        for number, name in enumerate(self.groups):
            own = (groups[chosen.first] == number) & (groups[chosen.second] == number)
            alike, other = own & chosen.alike, own & ~chosen.alike
            row: Row = [name, int(alike.sum()), int(other.sum())]
            row += [_share(cosines[other] >= threshold), _share(cosines[alike] < threshold)]
            both = alike.any() and other.any()
            row.append(round(verification.curve(cosines[own], chosen.alike[own]).equal_error_rate, 6) if both else "–")
            rows.append(row)
        return Table(title="Groups", columns=["group", "pairs of one", "pairs of two", "falsely accepted",
                                              "falsely rejected", "EER"], rows=rows)

    def _limits(self, identities: int, chosen: Pairs, judged: np.ndarray, threshold: float) -> list[str]:
        how = ("as the data list them" if self.listed else
               "drawn by the seed; an identity may be in pairs of several folds")
        return [f"Measured on {len(chosen.first):,} pairs of {identities} identities that training never saw, {how}. "
                f"The accuracy of a fold varies by {judged.std():.4f}.",
                f"From a cosine of {threshold:.3f} on, {self.protocol.far:g} of the pairs of two are taken for one. "
                "Who is compared with many is taken for one of them more often: with n of them about n times as often.",
                "It does not tell a face from a picture of a face, and says nothing of consent. Where the law asks for "
                "more, as for biometric identification, these figures are not enough.",
                "The figures hold for pictures like the test set's. Other cameras, ages, groups and alignments must be "
                "measured first."]

    def _draw(self, folder: Path, curve: verification.Curve, cosines: np.ndarray, chosen: Pairs,
              threshold: float) -> list[Figure]:
        drawings.roc(curve.far, curve.tar, self.protocol.far, folder / "roc.png")
        drawings.cosines(cosines[chosen.alike], cosines[~chosen.alike], threshold, folder / "cosines.png")
        return [Figure(file="roc.png", caption="True acceptances over false ones, for all thresholds; the dashed line "
                                               f"is at {self.protocol.far:g} of the others"),
                Figure(file="cosines.png", caption="Cosines of pairs of one identity and of two; the dashed line is "
                                                   f"the threshold for {self.protocol.far:g} false acceptances")]


def unit(embeddings: np.ndarray) -> np.ndarray:
    """Return embeddings with the length 1, which those of integer files have but nearly."""
    vectors = np.asarray(embeddings, np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _share(values: np.ndarray) -> float | str:
    return round(float(values.mean()), 6) if values.size else "–"
