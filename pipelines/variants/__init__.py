"""The variants of a trained model, as recipes ask for them: written as it is, trained on, or searched for."""
import pipelines.variants.auto
import pipelines.variants.buckets
import pipelines.variants.int4_blocks
import pipelines.variants.int8_parts
import pipelines.variants.post_training
import pipelines.variants.split_front_end
import pipelines.variants.streaming
import pipelines.variants.trained
import pipelines.variants.whole_loop  # noqa: F401
