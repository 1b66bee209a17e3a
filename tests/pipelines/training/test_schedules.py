"""Schedules by their formulas, point by point."""
import math

import numpy as np
import pytest

from pipelines.training.schedules import Schedule


def rates(written, steps):
    return Schedule.read(written).rates(steps)


def test_one_cycle_follows_its_formula():
    peak, warmup, steps = 0.01, 0.25, 200
    expected = []
    for step in range(steps):
        done = step / (steps - 1)
        if done < warmup:
            expected.append(peak * (0.04 + 0.96 * (1 - math.cos(math.pi * done / warmup)) / 2))
        else:
            expected.append(peak * (1e-4 + (1 - 1e-4) * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2))
    np.testing.assert_allclose(rates({"one_cycle": peak}, steps), expected, rtol=1e-4)
    assert max(expected) == pytest.approx(peak, rel=1e-3)


def test_cosine_warms_up_in_a_line_and_falls_to_its_floor():
    found = rates({"cosine": {"peak": 0.1, "warmup": 0.1, "end": 0.2}}, 100)
    np.testing.assert_allclose(found[:10], 0.1 * np.arange(10) / 10, atol=1e-7)
    expected = [0.1 * (0.2 + 0.8 * (1 + math.cos(math.pi * step / 89)) / 2) for step in range(90)]
    np.testing.assert_allclose(found[10:], expected, rtol=1e-5)


@pytest.mark.parametrize(("written", "independent"), [
    ({"exponential": {"peak": 0.1, "end": 0.01}}, lambda k: k.ExponentialDecay(0.1, 99, 0.01)),
    ({"polynomial": {"peak": 0.1, "power": 2, "end": 0.1}}, lambda k: k.PolynomialDecay(0.1, 99, 0.01, power=2)),
    ({"cosine": {"peak": 0.1, "warmup": 0, "end": 0.1}}, lambda k: k.CosineDecay(0.1, 99, alpha=0.1)),
    ({"cosine_restarts": {"peak": 0.1, "cycles": 3, "stretch": 2, "decay": 0.5}},
     lambda k: k.CosineDecayRestarts(0.1, 99 / 7, t_mul=2, m_mul=0.5)),
    ({"piecewise": {"boundaries": [0.25, 0.5], "rates": [0.1, 0.01, 0.001]}},
     lambda k: k.PiecewiseConstantDecay([24, 49], [0.1, 0.01, 0.001])),
    ({"step": {"peak": 0.1, "every": 0.5}}, lambda k: k.PiecewiseConstantDecay([49], [0.1, 0.01])),
])
def test_a_schedule_is_keras_own_point_by_point(written, independent):
    import keras

    expected = independent(keras.optimizers.schedules)
    points = [float(expected(step)) for step in range(99)]
    np.testing.assert_allclose(rates(written, 100)[:99], points, rtol=2e-4, atol=1e-8)


def test_any_schedule_can_begin_with_a_warm_up():
    found = rates({"polynomial": {"peak": 0.1, "warmup": 0.2}}, 100)
    np.testing.assert_allclose(found[:20], 0.1 * np.arange(20) / 20, atol=1e-7)
    np.testing.assert_allclose(found[20:], 0.1 * (1 - np.arange(80) / 79), atol=1e-7)


def test_a_rate_that_never_changes_is_left_to_callbacks():
    assert not Schedule.read({"constant": 0.3}).changes
    assert Schedule.read({"constant": {"peak": 0.3, "warmup": 0.1}}).changes


def test_momentum_cycles_against_the_rate():
    schedule = Schedule.read({"one_cycle": {"peak": 0.1, "momentum": [0.95, 0.85]}})
    momenta, places = schedule.momenta(101), schedule.rates(101)
    assert momenta[0] == pytest.approx(0.95) and momenta[-1] == pytest.approx(0.95)
    assert momenta[places.argmax()] == pytest.approx(0.85)
