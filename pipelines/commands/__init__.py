"""The commands of `litepress`, by what they are about. They import what they need once they run: `--help` is quick."""
# in the order in which --help lists them
from pipelines.commands import recipes, plan, artifacts, sample, gallery, serving, repository, project  # noqa: F401, I001
