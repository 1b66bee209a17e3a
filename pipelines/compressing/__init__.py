"""The variants of a trained model, as recipes ask for them: written as it is, trained on, or searched for."""
import pipelines.compressing.auto
import pipelines.compressing.post_training
import pipelines.compressing.trained  # noqa: F401
