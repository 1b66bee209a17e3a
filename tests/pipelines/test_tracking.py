"""What MLflow is sent."""
import mlflow.utils.validation
import pytest

from pipelines.reporting.tracking import named


@pytest.mark.parametrize("metric", ["chrf.%(from)s_зв'язки", "accuracy", "f1.café #1", "drop.a/b"])
def test_metrics_have_names_that_mlflow_takes(metric):
    mlflow.utils.validation._validate_metric_name(named(metric))
    assert named("val_loss.x-y") == "val_loss.x-y"
