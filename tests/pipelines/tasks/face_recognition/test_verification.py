"""Verification against hand counts."""
import tracemalloc

import numpy as np
import pytest

from pipelines.tasks.face_recognition import pairs, verification

COSINES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
ALIKE = np.array([True, True, False, True, False, True, False, False])


def counted_tar(far):
    """Try every threshold."""
    best = 0.0
    for threshold in [*COSINES, 1.0]:
        accepted = threshold <= COSINES
        if accepted[~ALIKE].mean() <= far:
            best = max(best, accepted[ALIKE].mean())
    return best


@pytest.mark.parametrize("far", [0.0, 0.1, 0.25, 0.3, 0.5, 1.0])
def test_true_acceptances_at_a_share_of_false_ones(far):
    tar, threshold = verification.curve(COSINES, ALIKE).at_far(far)
    assert tar == counted_tar(far)
    assert (COSINES[~ALIKE] >= threshold).mean() <= far and (COSINES[ALIKE] >= threshold).mean() == tar


def test_a_threshold_that_accepts_nothing_is_a_number():
    tar, threshold = verification.curve(np.array([0.9, 0.5]), np.array([False, True])).at_far(0.1)
    assert tar == 0 and 0.9 < threshold < 0.91


def test_the_equal_error_rate_is_where_both_errors_are_alike():
    assert verification.curve(COSINES, ALIKE).equal_error_rate == pytest.approx(0.25)
    assert verification.curve(np.array([0.9, 0.8, 0.1, 0.0]), np.array([1, 1, 0, 0], bool)).equal_error_rate == 0
    assert verification.curve(np.array([0.9, 0.8, 0.1, 0.0]), np.array([0, 0, 1, 1], bool)).equal_error_rate == 1


def test_a_folds_threshold_is_found_on_the_others():
    fold = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    cosines = np.array([0.9, 0.8, 0.2, 0.1, 0.7, 0.5, 0.4, 0.1])
    alike = np.array([1, 1, 0, 0, 1, 1, 0, 0], bool)
    # 0.45 is best on the second fold, half way between 0.4 and 0.5, and on the first (0.2 + 0.8) / 2
    assert verification.accuracies(cosines, alike, fold).tolist() == [1.0, 1.0]
    assert verification.accuracies(np.where(cosines == 0.4, 0.55, cosines), alike, fold).tolist() == [1.0, 0.75]


def test_a_fold_alone_is_judged_by_its_own_threshold():
    assert verification.accuracies(np.array([0.9, 0.1]), np.array([True, False]), np.zeros(2, int)).tolist() == [1.0]


def test_the_best_threshold_judges_most_pairs_rightly():
    generator = np.random.default_rng(0)
    for _ in range(20):
        cosines, alike = generator.integers(0, 6, 30) / 5, generator.random(30) < 0.5
        tried = [((cosines >= threshold) == alike).mean() for threshold in np.linspace(-0.1, 1.1, 121)]
        chosen = verification.best_threshold(cosines, alike)
        assert ((cosines >= chosen) == alike).mean() == max(tried)


def test_who_is_nearest_among_the_enrolled():
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.8, 0.2], [0.1, 0.9], [0.5, 0.5]])
    identities = np.array([0, 0, 1, 1, 1, 2])  # identity 2 has one picture: neither enrolled nor asked
    assert verification.rank_1(vectors, identities) == pytest.approx(2 / 3)
    assert np.isnan(verification.rank_1(vectors, np.arange(6)))


def test_a_threshold_for_strangers_accepts_at_most_their_share():
    cosines = np.array([0.9, 0.8, 0.8, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert [(cosines >= verification.threshold_for(cosines, far)).sum() for far in (0, 0.125, 0.25, 0.375, 0.5, 1)] == [
        0, 1, 1, 3, 4, 8]


def test_cosines_of_strangers_are_those_with_the_mean_direction_of_others():
    vectors = np.array([[1, 0], [0.6, 0.8], [0, 1]])
    assert sorted(verification.of_strangers(vectors, np.array([7, 7, 9]), 0)) == pytest.approx(
        sorted([0.0, 0.8, 0.8 / 3.2 ** 0.5]))


def test_drawn_pairs_are_different_and_of_the_kind_that_they_say():
    identities = np.repeat(np.arange(12), 5)
    drawn = pairs.drawn(identities, most=80, folds=10, seed=3)
    assert drawn.alike.sum() == 80 and (~drawn.alike).sum() == 80
    assert ((identities[drawn.first] == identities[drawn.second]) == drawn.alike).all()
    assert (drawn.first < drawn.second).all()
    assert len({*zip(drawn.first, drawn.second, strict=True)}) == 160
    for number in range(10):
        assert drawn.alike[drawn.fold == number].sum() == 8 and (drawn.fold == number).sum() == 16
    again = pairs.drawn(identities, most=80, folds=10, seed=3)
    assert (again.first == drawn.first).all() and (again.fold == drawn.fold).all()
    assert not np.array_equal(pairs.drawn(identities, 80, 10, 4).first, drawn.first)


def drawn_of_all(identities, most, generator):
    """Return pairs of one identity each, drawn out of all of them."""
    every = []
    for identity in np.unique(identities):
        own = np.flatnonzero(identities == identity)
        every += [(own[one], own[other]) for one in range(len(own)) for other in range(one + 1, len(own))]
    every = np.array(every, int).reshape(-1, 2)
    return every if len(every) <= most else every[np.sort(generator.choice(len(every), most, replace=False))]


@pytest.mark.parametrize("most", [10, 500, 100_000])
def test_pairs_of_one_are_drawn_as_if_all_had_been_made(most):
    identities = np.random.default_rng(5).integers(0, 9, 300) ** 2
    drawn = pairs._alike(identities, most, np.random.default_rng(2))
    np.testing.assert_array_equal(drawn, drawn_of_all(identities, most, np.random.default_rng(2)))


def test_many_pictures_are_compared_in_little_memory():
    """20,000 pictures of 10 things make 20 million pairs of one, and a matrix of 20,000 x 10 x 2,000 products."""
    identities = np.arange(20_000) % 10
    vectors = np.random.default_rng(0).normal(size=(4_000, 8)).astype("float32")
    several = np.arange(4_000) // 2
    tracemalloc.start()
    drawn = pairs.drawn(identities, most=3_000, folds=10, seed=0)
    share = verification.rank_1(vectors, several)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert drawn.alike.sum() == 3_000 and (identities[drawn.first] == identities[drawn.second])[drawn.alike].all()
    asked, enrolled = np.arange(1, 4_000, 2), np.arange(0, 4_000, 2)
    assert share == ((vectors[asked] @ vectors[enrolled].T).argmax(axis=1) == np.arange(2_000)).mean()
    assert most < 12 * 2**20
    np.testing.assert_allclose(verification.cosines_of(vectors, asked, enrolled),
                               (vectors[asked] * vectors[enrolled]).sum(axis=1), atol=1e-5)


def test_all_pairs_are_taken_where_there_are_few():
    drawn = pairs.drawn(np.array([0, 0, 0, 1]), most=100, folds=2, seed=0)
    assert sorted(zip(drawn.first, drawn.second, drawn.alike, strict=True)) == [
        (0, 1, True), (0, 2, True), (0, 3, False), (1, 2, True), (1, 3, False), (2, 3, False)]


def test_listed_pairs_are_those_of_the_pictures_that_can_be_read():
    none = (-1, -1)
    memberships = np.array([[(0, 0), (2, 1)], [(0, 0), none], [(2, 1), (7, 1)]])
    listed = pairs.listed(memberships, np.array([4, 4, 9]))
    assert [listed.first.tolist(), listed.second.tolist(), listed.alike.tolist(), listed.fold.tolist()] == [
        [0, 0], [1, 2], [True, False], [0, 1]]
