"""Instance segmentation: which pixels belong to which thing."""
from pipelines.tasks.instance_segmentation.task import InstanceSegmentation

__all__ = ["InstanceSegmentation"]
