"""A few examples of a recipe's data, as data of their own."""
import numpy as np
import PIL.Image
import pytest

from pipelines.errors import UserError
from pipelines.ingest.data import set_seed
from pipelines.recipe.recipe import Recipe
from pipelines.tools.few_examples import few_examples


def recipe(source, **data):
    return Recipe.model_validate({"name": "x", "data": {"source": source, "image": {"size": 8, "channels": 1}, **data},
                                  "model": {"builder": "resnet8"}})


@pytest.fixture
def photos(tmp_path):
    """A folder of two classes, 30 images each, as bright as their class says; the first of each is broken."""
    for label, name in enumerate(("dark", "light")):
        (tmp_path / name).mkdir()
        for number in range(30):
            PIL.Image.fromarray(np.full((8, 8), 100 * label + number,
                                        "uint8")).save(tmp_path / name / f"{number:02d}.png")
        (tmp_path / name / "00.png").write_text("no image")
    return {"image_folder": str(tmp_path)}


def test_the_first_readable_examples_are_taken_for_every_split(photos):
    data = few_examples(recipe(photos), 5)
    for part in ("train", "validation", "test"):
        inputs, targets = data.arrays(part, 5)
        assert inputs["image"][:, 0, 0, 0].tolist() == [1, 2, 3, 4, 5] and targets["label"].tolist() == [0] * 5
    assert data.section.batch == 5 and data.steps == 1
    set_seed(0)
    inputs, targets = next(iter(data.training(0, 1)))
    assert inputs["image"].shape == (5, 8, 8, 1) and targets["label"].shape == (5, 2)


def test_examples_may_be_spread_over_all_of_the_data(photos):
    _, targets = few_examples(recipe(photos), 20, spread=True).arrays("train", 20)
    assert 8 <= int(targets["label"].sum()) <= 11


def test_data_without_one_readable_example_are_refused(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_text("no image")
    with pytest.raises(UserError, match="none of the first 2 examples could be read"):
        few_examples(recipe({"image_folder": str(tmp_path)}), 8)


def test_random_texts_stand_for_those_that_are_not_here(tmp_path):
    data = few_examples(Recipe.model_validate({
        "name": "x", "task": "text_classification", "model": {"builder": "textcnn"},
        "data": {"source": {"tfds": {"name": "imdb_reviews", "data_dir": str(tmp_path)}}, "tokens": {"length": 9}}}), 4)
    inputs, targets = data.arrays("train", 4)
    assert inputs["tokens"].shape == (4, 9) and inputs["tokens"].min() > 0 and set(targets["label"]) == {0, 1}
