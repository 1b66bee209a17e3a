"""Encoders and decoders that shorten texts: those that translate, under names of their own."""
from __future__ import annotations

from models import seq2seq, t5
from models.registry import register

register("t5_summarizer", task="summarization", paper=t5.PAPER, at=seq2seq.SHORT, closed_form=t5.size)(t5.t5)
register("seq2seq_summarizer", task="summarization", paper="https://arxiv.org/abs/1509.00685",
         at=seq2seq.SHORT)(seq2seq.seq2seq)
