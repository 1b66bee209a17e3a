"""Splits that keep groups whole: of tables, folders and arrays of examples."""
import numpy as np
import PIL.Image
import pytest

from pipelines.errors import UserError
from pipelines.ingest.grouping import taken_groups
from pipelines.ingest.indexing import build_index
from pipelines.recipe.recipe import Recipe
from pipelines.tasks.semantic_segmentation import SemanticSegmentation
from tests.pipelines.ingest.conftest import index_of


def generator():
    return np.random.default_rng(0)


def test_groups_are_taken_whole_and_about_their_share():
    groups = np.repeat([f"p{number}" for number in range(40)], 5).tolist()
    taken = taken_groups(groups, None, 0.2, generator())
    chosen = {groups[place] for place in taken}
    assert len(taken) == 40 and taken == [place for place, group in enumerate(groups) if group in chosen]


def test_each_class_has_about_its_share():
    groups = [f"p{number}" for number in range(100) for _ in range(2)]
    classes = [int(number >= 80) for number in range(100) for _ in range(2)]
    taken = taken_groups(groups, classes, 0.2, generator())
    counts = np.bincount([classes[place] for place in taken])
    assert counts.tolist() == [32, 8]


def test_at_least_one_group_is_taken_and_never_the_last():
    assert taken_groups(["a", "a", "b", "b", "b"], None, 0.1, generator()) == [0, 1], "the smaller one"
    assert len(set(taken_groups(["a", "b", "c"], None, 0.99, generator()))) == 2
    with pytest.raises(UserError, match=r"all 3 examples left for training are of one group, a, and a group is in one"):
        taken_groups(["a"] * 3, None, 0.2, generator())


def write_images(folder, patients=12, each=3):
    """Write images of patients, a folder each, and the lines of a table of them."""
    lines = []
    for patient in range(patients):
        (folder / f"p{patient}").mkdir(parents=True)
        for number in range(each):
            name = f"p{patient}/{number}.png"
            PIL.Image.fromarray(np.full((8, 8), 20 * patient, "uint8")).save(folder / name)
            lines.append(f"{name},{'ill' if patient % 2 else 'well'},{patient}")
    return lines


def patients_of(index, names):
    """Return the patients in each split."""
    return {part: {names[position] for position in split.positions} for part, split in index.splits.items()}


def test_a_column_of_a_table_keeps_patients_in_one_split(tmp_path):
    lines = write_images(tmp_path)
    (tmp_path / "t.csv").write_text("\n".join(["image,label,patient", *lines]))
    source = {"image_table": str(tmp_path / "t.csv")}
    names = [line.split(",")[2] for line in lines]
    grouped = patients_of(index_of(source, group="patient", test=0.25, validation=0.2), names)
    assert sum(map(len, grouped.values())) == 12 and min(map(len, grouped.values())) >= 2
    alone = patients_of(index_of(source, test=0.25, validation=0.2), names)
    assert sum(map(len, alone.values())) > 12, "image by image they are in several"
    with pytest.raises(UserError, match=r"data.group: the source image_table says of no example which site it is of; "
                                        r"its fields are image, label"):
        index_of(source, group="site")


def test_a_row_without_its_group_is_named(tmp_path):
    lines = write_images(tmp_path, 2)
    lines[3] = lines[3].rsplit(",", 1)[0] + ","
    (tmp_path / "t.csv").write_text("\n".join(["image,label,patient", *lines]))
    with pytest.raises(UserError, match=r"data.group: .*t.csv row 4 has no patient; fill it in"):
        index_of({"image_table": str(tmp_path / "t.csv")}, group="patient")


def test_a_group_in_two_parts_of_a_source_is_refused(tmp_path):
    lines = [f"{line},{'test' if number % 4 == 0 else 'train'}" for number, line in enumerate(write_images(tmp_path))]
    (tmp_path / "t.csv").write_text("\n".join(["image,label,patient,split", *lines]))
    with pytest.raises(UserError, match=r"data: the patient 0 is in train and in test; what is tested on must not be "
                                        r"learnt\. Move it into one of them"):
        index_of({"image_table": str(tmp_path / "t.csv")}, group="patient")


def test_folders_keep_what_lies_in_them_in_one_split(tmp_path):
    write_images(tmp_path / "photos" / "well")
    write_images(tmp_path / "photos" / "ill")
    index = index_of({"image_folder": str(tmp_path / "photos")}, group="folder")
    names = [f"p{number}" for _ in range(2) for number in sorted(range(12), key=str) for _ in range(3)]
    grouped = patients_of(index, names)
    assert sum(map(len, grouped.values())) == 12, "a patient of two classes is in one split all the same"


def test_folders_of_masks_too(tmp_path):
    write_images(tmp_path / "images")
    for path in sorted((tmp_path / "images").rglob("*.png")):
        mask = tmp_path / "masks" / path.relative_to(tmp_path / "images")
        mask.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(np.zeros((8, 8), "uint8")).save(mask)
    index = index_of({"image_and_mask_folder": str(tmp_path)}, SemanticSegmentation(), image={"size": 8},
                     group="folder")
    names = [f"p{number}" for number in sorted(range(12), key=str) for _ in range(3)]
    assert sum(map(len, patients_of(index, names).values())) == 12


def test_arrays_are_grouped_by_a_field(arrays):
    person = np.repeat(np.arange(10), 6)
    source = arrays(x_train=np.zeros((60, 8, 8, 1), "uint8"), y_train=np.arange(60) % 2, train_person=person)
    grouped = patients_of(index_of(source, group="person"), person.tolist())
    assert sum(map(len, grouped.values())) == 10


def test_the_groups_of_a_table_are_no_input_unless_a_recipe_says_so(tmp_path):
    rows = [f"{number % 5},{person},{'ab'[number % 2]}" for person in range(12) for number in range(4)]
    (tmp_path / "t.csv").write_text("\n".join(["age,person,kind", *rows]))
    written = {"name": "x", "task": "tabular", "model": {"builder": "mlp"},
               "data": {"source": {"csv": str(tmp_path / "t.csv")}, "target": "kind", "group": "person"}}
    recipe = Recipe.model_validate(written)
    index = build_index(recipe.data, recipe.task, 7)
    assert list(index.inputs) == ["age"]
    assert sum(map(len, patients_of(index, [row.split(",")[1] for row in rows]).values())) == 12
    written["data"]["columns"] = {"person": "category"}
    recipe = Recipe.model_validate(written)
    assert list(build_index(recipe.data, recipe.task, 7).inputs) == ["age", "person"]
