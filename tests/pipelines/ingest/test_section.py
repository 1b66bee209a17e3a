"""The data section of a recipe: each feature's settings, checked by the task's features."""
import json

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from pipelines.features.image import Image
from pipelines.features.label import Label
from pipelines.features.mask import Mask
from pipelines.features.number import Number
from pipelines.ingest.section import DataSection

FEATURES = {"image": Image, "label": Label}


def filled(features=FEATURES, **settings):
    section = DataSection.model_validate({"source": "digits", **settings})
    section.fill(features)
    return section


def test_defaults_are_filled_in_and_mean_the_same():
    section = filled(image={"size": 8})
    written = section.model_dump(mode="json")
    assert written["image"] == {"field": None, "size": [8, 8], "channels": 3, "fit": "resize", "window": None}
    assert written["label"] == {"field": None}
    again = DataSection.model_validate(written)
    again.fill(FEATURES)
    assert again == section == filled(image={"size": [8, 8]})
    again.fill(FEATURES)
    assert again == section


def test_a_feature_has_its_settings():
    section = filled({"left": Image, "right": Image}, left={"size": 8}, right={"field": "other"})
    assert section.feature("left", Image) == Image(size=8)
    assert section.feature("right", Image) == Image(field="other")
    assert DataSection(source="digits").feature("image", Image) == Image()


@pytest.mark.parametrize(("settings", "location", "kind"), [
    ({"imge": {"size": 8}}, ("data",), "unknown_key"),
    ({"bacth": 8}, ("data",), "unknown_key"),
    ({"mask": {}}, ("data",), "unknown_key"),
    ({"image": {"sise": 8}}, ("data", "image"), "unknown_key"),
    ({"image": {"size": "8px"}}, ("data", "image", "size"), "size"),
    ({"image": {"channels": 2}}, ("data", "image", "channels"), "literal_error"),
    ({"image": 8}, ("data", "image"), "model_type"),
    ({"label": {"field": ""}}, ("data", "label", "field"), "string_too_short"),
])
def test_a_mistake_is_named_with_its_location(settings, location, kind):
    with pytest.raises(ValidationError) as caught:
        filled(**settings)
    error, = caught.value.errors()
    assert (error["loc"], error["type"]) == (location, kind)


def test_every_mistake_of_the_features_is_named():
    with pytest.raises(ValidationError) as caught:
        filled(image={"size": 0, "channels": 2}, label={"field": ""})
    assert len(caught.value.errors()) == 3


def test_an_unknown_key_is_named_with_the_nearest_known():
    with pytest.raises(ValidationError) as caught:
        filled(bacth=8)
    context = caught.value.errors()[0]["ctx"]
    assert context["key"] == "bacth" and context["nearest"] == "batch"
    assert {"image", "label", "source", "batch"} <= set(context["known"])


@pytest.mark.parametrize(("features", "augment", "reason"), [
    ({"columns": Number}, "flip", "flip changes images, and an example has none"),
    ({"columns": Number}, "cutmix", "cutmix changes images, and an example has none"),
    ({"image": Image, "mask": Mask}, "augmix", "augmix mixes images that were moved differently"),
])
def test_an_augmentation_that_does_not_go_with_the_examples_is_refused(features, augment, reason):
    with pytest.raises(PydanticCustomError, match=reason) as caught:
        filled(features, augment=[{"mixup": 0.1}, augment])
    assert caught.value.context["at"] == ["data", "augment", 1]


def test_augmentations_that_go_with_the_examples_are_taken():
    filled({"columns": Number}, augment=["mixup"])
    filled({"image": Image, "mask": Mask}, augment=["flip", "rand_augment", "mixup", "cutmix", "color_jitter"])


def test_the_schema_describes_the_features_and_refuses_a_misspelt_setting():
    schema = DataSection.model_json_schema()
    assert {"source", "augment", "batch", "image", "label", "mask", "number"} <= set(schema["properties"])
    assert schema["properties"]["image"]["properties"]["channels"]["enum"] == [1, 3]
    assert schema["properties"]["image"]["description"] == "The images that the model sees."
    other = schema["additionalProperties"]
    assert other == {"type": ["object", "string"]}, "features that a task calls something else, and a task's settings"
    json.dumps(schema)


def test_a_mask_follows_its_image_unless_it_says_otherwise():
    dense = {"image": Image, "mask": Mask}
    mask = filled(dense, image={"size": [6, 8], "fit": "pad"}).feature("mask", Mask)
    assert (mask.size, mask.fit) == ((6, 8), "pad")
    own = filled(dense, image={"size": [6, 8]}, mask={"size": 4, "names": ["a", "b"]}).feature("mask", Mask)
    assert (own.size, own.fit, own.names) == ((4, 4), "resize", ["a", "b"])
    again = DataSection.model_validate(filled(dense, image={"size": 6}).model_dump(mode="json"))
    again.fill(dense)
    assert again == filled(dense, image={"size": 6})
