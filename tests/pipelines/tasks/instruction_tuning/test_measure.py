"""Answers, measured: against what a model says that is let to speak."""
import numpy as np
import pytest

import models
from pipelines.features.tokenizers.tokenizer import END, PADDING, START
from pipelines.tasks.instruction_tuning.measure import NEVER, AnswerMeasure

LENGTH, VOCABULARY = 10, 12


def conversations(examples, seed=0):
    """Return what is read, what is learnt of it, and where each answer begins and ends."""
    generator = np.random.default_rng(seed)
    read, follows = (np.zeros((examples, LENGTH), "int32") for _ in range(2))
    spans = []
    for row in range(examples):
        asked, said = generator.integers(2, 5), generator.integers(1, 3)
        tokens = [*generator.integers(4, VOCABULARY, asked + said).tolist(), END]
        read[row, :len(tokens)] = [START, *tokens[:-1]]
        follows[row, asked:len(tokens)] = tokens[asked:]
        spans.append((asked, len(tokens)))
    return read, follows, spans


def spoken(model, read, first, last):
    """Return what a model says behind a prompt, the likeliest token each time, as many as the answer has."""
    row = read.copy()
    row[first + 1:] = PADDING
    said = []
    for place in range(first, last):
        logits = np.array(model(row[None])["logits"])[0, place]
        logits[list(NEVER)] = -np.inf
        said.append(int(logits.argmax()))
        if place + 1 < LENGTH:
            row[place + 1] = said[-1]
    return said


def test_exact_answers_are_those_that_the_model_gives_by_itself():
    model = models.build("llama", length=LENGTH, vocabulary=VOCABULARY, depth=1, units=16, heads=2, dropout=0.0)
    model.set_weights([np.random.default_rng(5).normal(0, 0.7, weight.shape).astype("float32")
                       for weight in model.get_weights()])
    read, follows, spans = conversations(40)
    for row, (first, last) in enumerate(spans[:15]):  # some answers are what the model says
        said = spoken(model, read[row], first, last)
        follows[row, first:last] = said
        read[row, first + 1:last] = said[:-1]
    expected = np.mean([spoken(model, read[row], *span) == follows[row, slice(*span)].tolist()
                        for row, span in enumerate(spans)])
    measure = AnswerMeasure("logits", "next")
    for some in (slice(0, 30), slice(30, 40)):
        measure.add({"next": follows[some]}, {"logits": np.array(model(read[some])["logits"])})
    metrics = measure.result().metrics
    assert metrics["exact_match"] == pytest.approx(expected) and 15 / 40 <= expected < 1


def test_what_is_asked_counts_for_nothing():
    follows = np.array([[0, 0, 5, END, 0], [0, 6, END, 0, 0]], "int32")
    logits = np.random.default_rng(0).normal(size=(2, 5, VOCABULARY)).astype("float32")
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    likely = [shares[0, 2, 5], shares[0, 3, END], shares[1, 1, 6], shares[1, 2, END]]
    measure = AnswerMeasure("logits", "next")
    wrong = measure.add({"next": follows}, {"logits": logits})
    assert measure.result().metrics["perplexity"] == pytest.approx(np.exp(-np.log(likely).mean()), rel=1e-5)
    assert wrong[0] == pytest.approx(-np.log2(likely[:2]).mean(), rel=1e-5)
    logits[0, 2, 5] = logits[0, 3, END] = logits[1, 1, 6] = 50.0
    logits[1, 2, 7], logits[0, 2, [PADDING, START]] = 60.0, 99.0
    measure = AnswerMeasure("logits", "next")
    measure.add({"next": follows}, {"logits": logits})
    assert measure.result().metrics["exact_match"] == 0.5 and measure.result().metrics["accuracy"] == 0.75
