"""Embeddings of sentences: texts that mean one thing lie near each other."""
from pipelines.tasks.sentence_embedding.similarity import SentenceSimilarity
from pipelines.tasks.sentence_embedding.task import SentenceEmbedding

__all__ = ["SentenceEmbedding", "SentenceSimilarity"]
