"""The commands of `litepress`, by what they are about. What they need is imported when they run, so that `--help`
answers at once."""
from pipelines.commands import artifacts, project, recipes, repository, serving  # noqa: F401  the order in which --help lists them
