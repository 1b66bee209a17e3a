"""Arrays as a source, as ingest's tests have them."""
from tests.pipelines.ingest.conftest import arrays

__all__ = ["arrays"]
