"""What tests of exported files share: the run of the small recipe."""
import pytest


@pytest.fixture(scope="module")
def run(tiny_run):
    """The folder of the small recipe's run."""
    return tiny_run / "runs" / "tiny" / "latest"
