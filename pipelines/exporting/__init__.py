"""The targets as recipes ask for them: each makes its form of the variants that it takes."""
import pipelines.exporting.devices
import pipelines.exporting.runtimes  # noqa: F401
