"""What tests of conversions share: the digits of the small recipe, its model, and what is written of that."""
import pytest

from pipelines.ingest.data import Data
from pipelines.ingest.index import Index
from pipelines.recipe import file as recipe_file


@pytest.fixture(scope="module")
def data(tiny_run, run):
    """The small recipe's examples."""
    recipe = recipe_file.read(tiny_run / "recipe.yaml")
    index = Index.model_validate_json((run / "ingest" / "index.json").read_bytes())
    return Data(recipe.data, recipe.task, index, recipe.seed)


@pytest.fixture(scope="module")
def digits(data):
    """Split to its images and labels."""
    splits = {part: data.arrays(part, data.index.splits[part].examples) for part in ("train", "test")}
    return {part: (inputs["image"], targets["label"]) for part, (inputs, targets) in splits.items()}


@pytest.fixture(scope="module")
def functions(data):
    """What is written of a model for devices."""
    return lambda model: data.task.functions(model, data, "device")
