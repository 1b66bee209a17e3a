"""Anomaly detection: when a series is out of the ordinary."""
from pipelines.tasks.anomaly_detection.task import AnomalyDetection

__all__ = ["AnomalyDetection"]
