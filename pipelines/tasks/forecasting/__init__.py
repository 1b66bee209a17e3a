"""Forecasting: the next steps of series."""
from pipelines.tasks.forecasting.task import Forecasting

__all__ = ["Forecasting"]
