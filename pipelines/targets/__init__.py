"""The targets as recipes ask for them: each makes its form of the variants that it takes."""
import pipelines.targets.devices
import pipelines.targets.gguf
import pipelines.targets.litert_lm
import pipelines.targets.mediapipe
import pipelines.targets.runtimes  # noqa: F401
