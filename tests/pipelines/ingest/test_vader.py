"""Rated sentences: how many there are, and which class a rating makes."""
import numpy as np
import pytest

from pipelines.ingest.sources.source import Source


def table(**settings):
    return Source.read({"vader": settings}).tables()["train"]


def test_the_ratings_are_those_of_the_paper():
    """10,605 snippets of film reviews, 3,708 of product reviews and 4,200 tweets, less those rated exactly 0."""
    columns = table(clear=1e-9).columns
    kinds = [document.split()[0].decode() for document in columns["document"]]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"movie": 10_568, "product": 3_610, "tweet": 4_196}
    reviews = {int(document.split()[1]) for document in columns["document"] if document.startswith(b"product")}
    assert reviews <= set(range(1, 310))  # the paper's 309 reviews
    assert abs(columns["rating"]).max() <= 4


def test_the_class_is_the_sign_of_the_rating():
    columns = table().columns
    assert np.array_equal(columns["label"] == b"positive", columns["rating"] > 0)
    assert abs(columns["rating"]).min() == pytest.approx(0.5)
    assert set(columns["label"]) == {b"negative", b"positive"}


def test_texts_are_utf8_and_whole():
    texts = [text.decode() for text in table(clear=1e-9).columns["text"]]
    assert all(text.strip() == text and text for text in texts)
    assert texts[2] == "Effective but too tepid biopic"
