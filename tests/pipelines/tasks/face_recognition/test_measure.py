"""What is said of embeddings as a whole, and of groups."""
import numpy as np
import pytest

from pipelines.tasks.face_recognition import verification
from pipelines.tasks.face_recognition.measure import Protocol, Verification, unit

PROTOCOL = Protocol(far=0.1, most=500, folds=5, seed=0)


def embedded(identities, noise, seed=0):
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(identities.max() + 1, 8))
    return (centres[identities] + noise * generator.normal(size=(len(identities), 8))).astype("float32")


def test_pictures_of_an_identity_that_are_alike_are_told_apart_from_all_others(tmp_path):
    identities = np.repeat(np.arange(10), 6)
    measure = Verification(PROTOCOL, "label")
    vectors = embedded(identities, 0.01)
    wrong = np.concatenate([measure.add({"label": identities[part]}, {"embedding": vectors[part]})
                            for part in (slice(0, 30), slice(30, 60))])
    assert (wrong < 0).all()
    result = measure.result(tmp_path)
    assert [result.metrics[name] for name in ("tar_at_far", "eer", "verification_accuracy", "rank_1")] == [1, 0, 1, 1]
    assert {figure.file for figure in result.figures} == {"roc.png", "cosines.png"}
    assert all((tmp_path / figure.file).exists() for figure in result.figures)


def test_lengths_do_not_matter():
    identities = np.repeat(np.arange(10), 6)
    vectors = embedded(identities, 1.0)
    results = []
    for factor in (1.0, np.linspace(0.5, 3, 60)[:, None]):
        measure = Verification(PROTOCOL, "label")
        measure.add({"label": identities}, {"embedding": vectors * factor})
        results.append(measure.result().metrics)
    assert results[0] == pytest.approx(results[1], abs=1e-5)


def test_a_threshold_accepts_as_many_as_it_says():
    identities = np.repeat(np.arange(20), 6)
    vectors = embedded(identities, 1.0)
    measure = Verification(PROTOCOL, "label")
    measure.add({"label": identities}, {"embedding": vectors})
    metrics = measure.result().metrics
    assert metrics["threshold"] <= metrics["threshold_0.1"]
    assert metrics["threshold_0.1"] < metrics["threshold_0.03"] < metrics["threshold_0.01"]
    assert "threshold_0.001" not in metrics, "500 pairs cannot tell one in a thousand"


@pytest.mark.parametrize("enrolled", [1, 3, 12])
def test_strangers_are_unknown_at_the_stated_share_however_many_pictures_are_enrolled(enrolled):
    """Of embeddings with a direction in common, to which the mean of several pictures is nearer than each of them."""
    generator = np.random.default_rng(0)

    def pictures(people, each):
        own = generator.normal(size=(people, 1, 32)) + 0.5
        return unit(own + generator.normal(size=(people, each, 32)))

    tested = pictures(400, 12)
    measure = Verification(Protocol(far=0.01, most=20_000, folds=10, seed=0), "label")
    measure.add({"label": np.repeat(np.arange(400), 12)}, {"embedding": tested.reshape(-1, 32)})
    metrics = measure.result().metrics
    people, strangers = pictures(100, enrolled), pictures(20_000, 1)[:, 0]
    cosines = strangers @ np.stack([verification.template(one) for one in people]).T
    for far in (0.1, 0.01, 0.001):
        assert (cosines >= metrics[f"threshold_{far:g}"]).mean() <= 1.15 * far
    assert enrolled < 12 or (cosines >= metrics["threshold"]).mean() > 0.013, "that of pairs lets more of them in"
    assert ((cosines >= metrics["threshold_0.001"]).any(axis=1)).mean() <= 1.15 * 100 * 0.001


def test_a_picture_without_another_of_its_identity_is_not_measured():
    measure = Verification(PROTOCOL, "label")
    wrong = measure.add({"label": np.array([0, 0, 1])}, {"embedding": embedded(np.array([0, 0, 1]), 0.0)})
    assert (wrong[:2] < 0).all() and np.isnan(wrong[2])


def test_groups_are_held_against_one_threshold():
    identities = np.repeat(np.arange(20), 6)
    group = (identities >= 10).astype(int)
    vectors = embedded(identities, 0.05)
    vectors[group == 1] = embedded(identities, 3.0)[group == 1]
    measure = Verification(PROTOCOL, "label", group="group", groups=["near", "far"])
    measure.add({"label": identities, "group": group}, {"embedding": vectors})
    table = next(one for one in measure.result().tables if one.title == "Groups")
    near, far = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert near["group"] == "near" and near["falsely rejected"] < 0.05 < 0.3 < far["falsely rejected"]
    assert near["EER"] < 0.1 < far["EER"]
    assert near["pairs of one"] + far["pairs of one"] == 300


def test_listed_pairs_are_the_only_ones():
    identities = np.array([0, 0, 1, 1])
    rows = np.array([[(0, 0)], [(0, 0)], [(1, 1)], [(1, 1)]])
    rows = np.concatenate([rows, np.array([[(2, 0)], [(-1, -1)], [(2, 0)], [(-1, -1)]])], axis=1)
    measure = Verification(PROTOCOL, "label", listed="pairs")
    measure.add({"label": identities, "pairs": rows}, {"embedding": embedded(identities, 0.01)})
    result = measure.result()
    assert result.remarks == ["2 pairs of one, 1 of two"] and result.metrics["eer"] == 0
