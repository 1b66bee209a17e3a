"""Sentences that people have rated from extremely negative to extremely positive; they come inside this package."""
from __future__ import annotations

import functools
import gzip
from collections.abc import Mapping
from pathlib import Path

from etils import epy
from pydantic import Field as Setting

from pipelines.ingest.index import Part
from pipelines.ingest.sources.table import Table
from pipelines.ingest.sources.table_source import TableSource

with epy.lazy_imports():
    import numpy as np

FILE = Path(__file__).with_name("vader_data") / "ratings.tsv.gz"


class Vader(TableSource, name="vader", shorthand="clear"):
    """18,513 sentences of film reviews, product reviews and tweets, each rated by 20 people.

    Ratings are from -4, extremely negative, to 4, extremely positive.

    They are what the package vaderSentiment was made with (MIT; Hutto and Gilbert, "VADER: A Parsimonious Rule-based
    Model for Sentiment Analysis of Social Media Text", ICWSM 2014); its rated sentences of newspaper editorials are
    left out. The film reviews are Pang and Lee's of 2004, the product reviews Hu and Liu's of 2004.

    `label` is negative or positive, by the sign of the mean rating, which is `rating`; `document` is what a sentence is
    of: one product review has several.

    Args:
        clear: a mean rating at least so far from 0; the others, which people did not agree on or found neutral, are
            left out.
    """

    clear: float = Setting(0.5, gt=0, lt=4)

    def fingerprint(self) -> str:
        return f"vader {self.clear} {FILE.stat().st_size}"

    def tables(self) -> Mapping[Part, Table]:
        documents, ratings, texts = rows()
        chosen = np.abs(ratings) >= self.clear
        labels = np.where(ratings > 0, b"positive", b"negative").astype(object)
        columns = {"text": texts, "label": labels, "rating": ratings, "document": documents}
        return {"train": Table("vader", {name: values[chosen] for name, values in columns.items()})}


@functools.cache
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return of each sentence what it is of, bytes, its mean rating, float64, and its text, bytes."""
    lines = gzip.decompress(FILE.read_bytes()).splitlines()[1:]
    documents, ratings, texts = zip(*(line.split(b"\t") for line in lines), strict=True)
    return np.array(documents, object), np.array(ratings).astype(float), np.array(texts, object)
