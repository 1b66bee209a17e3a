"""Tables: a class or a number out of the columns of a row."""
from pipelines.tasks.tabular.task import Tabular

__all__ = ["Tabular"]
