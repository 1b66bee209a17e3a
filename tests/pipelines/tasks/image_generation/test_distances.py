"""Distances between sets of pictures, against closed forms."""
import numpy as np
import pytest
import scipy.linalg

from pipelines.tasks.image_generation import distances

GENERATOR = np.random.default_rng(0)


def exactly(means, deviations, count=400):
    """Return rows with just these means and deviations, and no correlation."""
    rows = GENERATOR.normal(size=(count, len(means)))
    rows -= rows.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(rows, rowvar=False))
    return rows @ (vectors / np.sqrt(values)) @ vectors.T * deviations + means


def test_the_frechet_distance_of_normal_distributions_is_the_closed_form():
    one = exactly(np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0]))
    other = exactly(np.array([1.0, 1.0, 0.0]), np.array([2.0, 2.0, 1.0]))
    assert distances.frechet(one, other) == pytest.approx(1 + 4 + 1 + 0 + 4, rel=1e-6)
    assert distances.frechet(one, one) == pytest.approx(0, abs=1e-6)


def test_it_is_the_papers_formula_by_a_matrix_root_where_features_go_together():
    one, other = (GENERATOR.normal(size=(200, 5)) @ GENERATOR.normal(size=(5, 5)) for _ in range(2))
    covariances = [np.cov(rows, rowvar=False) for rows in (one, other)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert distances.frechet(one, other) == pytest.approx(expected, rel=1e-6)


def test_features_that_never_change_have_a_distance_too():
    one = np.concatenate([GENERATOR.normal(size=(50, 2)), np.ones((50, 1))], axis=1)
    assert np.isfinite(distances.frechet(one, one + 1))


def test_the_kernel_distance_is_unbiased():
    values = [distances.kernel(GENERATOR.normal(size=(30, 4)), GENERATOR.normal(size=(40, 4))) for _ in range(300)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(300) and min(values) < 0
    assert distances.kernel(GENERATOR.normal(size=(30, 4)) + 2, GENERATOR.normal(size=(30, 4))) > 1


def test_the_kernel_distance_is_its_sums_over_all_pairs():
    one, other = GENERATOR.normal(size=(7, 3)), GENERATOR.normal(size=(5, 3))

    def mean(first, second, same):
        pairs = [(first[i] @ second[j] / 3 + 1) ** 3 for i in range(len(first)) for j in range(len(second))
                 if not (same and i == j)]
        return np.mean(pairs)

    expected = mean(one, one, True) + mean(other, other, True) - 2 * mean(one, other, False)
    assert distances.kernel(one, other) == pytest.approx(expected)


def test_precision_falls_where_pictures_lie_outside_and_recall_where_some_are_missing():
    real = np.concatenate([GENERATOR.normal(0, 0.1, (100, 2)), GENERATOR.normal(10, 0.1, (100, 2))])
    half = GENERATOR.normal(0, 0.1, (200, 2))
    precision, recall = distances.precision_and_recall(half, real)
    assert precision > 0.9 and 0.4 < recall <= 0.5
    away = np.concatenate([real[::2], GENERATOR.normal(50, 0.1, (100, 2))])
    precision, recall = distances.precision_and_recall(away, real)
    assert precision == 0.5 and recall > 0.9


def test_a_set_has_itself_whole(monkeypatch):
    monkeypatch.setattr(distances, "AT_ONCE", 7)
    real = GENERATOR.normal(size=(50, 3))
    assert distances.precision_and_recall(real, real) == (1, 1)
    assert distances.nearest(real, real, 2)[:, 0].tolist() == list(range(50))
