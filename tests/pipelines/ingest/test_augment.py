"""Augmentation against closed forms, of images and of what belongs to them."""
import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest
import tensorflow as tf

from pipelines.ingest.augmentation import geometric
from pipelines.ingest.augmentation.augment import augment
from pipelines.ingest.augmentation.augment_policies import PHOTOMETRIC
from pipelines.ingest.augmentation.augmentation import Augmentation
from pipelines.ingest.augmentation.geometric import affine, warp

ROLES = {"image": "image", "second": "image", "mask": "mask", "boxes": "boxes", "label": "values", "age": "values"}


def entry(written):
    return Augmentation.read(written)


def apply_to(entries, inputs, targets, seed=(1, 2)):
    """Return inputs and targets, changed, as NumPy arrays by name."""
    inputs, targets = ({name: tf.constant(values) for name, values in part.items()} for part in (inputs, targets))
    changed = augment([entry(one) for one in entries], inputs, targets, ROLES, tf.constant(seed))
    return tuple({name: values.numpy() for name, values in part.items()} for part in changed)


def apply(entries, images, seed=(1, 2)):
    """Return images and labels of two classes in turn, changed."""
    labels = np.eye(2, dtype="float32")[np.arange(len(images)) % 2]
    inputs, targets = apply_to(entries, {"image": images}, {"label": labels}, seed)
    return inputs["image"], targets["label"]


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (64, 9, 9, 3)).astype("uint8")


EVERY = [{"rotate": 20}, {"shift": 0.2}, {"zoom": 0.3}, "flip", {"crop": 2}, {"cutout": 0.4}, {"mixup": 0.4}, "cutmix",
         "random_erasing", "color_jitter", "hsv", "rand_augment", "augmix", "resized_crop", "affine",
         "scale_jitter"]


@pytest.mark.parametrize("written", EVERY)
def test_the_same_seed_gives_the_same_images_and_another_others(images, written):
    first, again, other = apply([written], images), apply([written], images), apply([written], images, seed=(1, 3))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


def test_nothing_asked_changes_nothing(images):
    changed, _ = apply([], images)
    np.testing.assert_array_equal(changed, images)


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_others(images):
    changed, _ = apply([{"flip": "horizontal"}], images)
    mirrored = [np.allclose(after, before[:, ::-1], atol=1e-3) for before, after in zip(images, changed, strict=True)]
    kept = [np.allclose(after, before, atol=1e-3) for before, after in zip(images, changed, strict=True)]
    assert all(one != other for one, other in zip(mirrored, kept, strict=True))
    assert 16 <= sum(mirrored) <= 48


def test_crop_moves_by_whole_pixels_and_fills_with_black(images):
    changed, _ = apply([{"crop": 2}], images)
    for before, after in zip(images, changed, strict=True):
        padded = np.pad(before, ((2, 2), (2, 2), (0, 0)))
        candidates = [padded[top:top + 9, left:left + 9] for top in range(5) for left in range(5)]
        assert any(np.allclose(after, candidate, atol=0.05) for candidate in candidates)


def test_a_rotation_of_ninety_degrees_is_one():
    image = np.arange(25, dtype="uint8").reshape(1, 5, 5, 1)
    quarter = affine(*(tf.constant([value]) for value in (0.0, -1.0, 1.0, 0.0)))
    turned = warp(tf.cast(image, tf.float32), quarter).numpy()[0, ..., 0]
    assert np.allclose(turned, np.rot90(image[0, ..., 0])) or np.allclose(turned, np.rot90(image[0, ..., 0], -1))


def test_zoom_stays_within_its_share():
    matrices = entry({"zoom": 0.25}).matrix(tf.constant(500), 8, 8, tf.constant([3, 4])).numpy()
    scales = matrices[:, 0, 0]
    assert 0.75 <= scales.min() < 0.8 and 1.2 < scales.max() <= 1.25


def test_cutout_blackens_a_square_of_its_share():
    changed, _ = apply([{"cutout": 0.5}], np.full((200, 20, 20, 1), 255, "uint8"))
    black = (changed[..., 0] == 0)
    assert black.any(axis=(1, 2)).all()
    rows, columns = black.any(axis=2).sum(axis=1), black.any(axis=1).sum(axis=1)
    assert rows.max() == 10 and columns.max() == 10, "10 of 20 pixels where it lies wholly inside"
    np.testing.assert_array_equal(black.sum(axis=(1, 2)), rows * columns)


def test_mixup_mixes_images_and_targets_in_the_same_share():
    images = np.zeros((100, 4, 4, 1), "uint8")
    images[::2] = 200
    changed, targets = apply([{"mixup": 1.0}], images)
    np.testing.assert_allclose(changed[:, 0, 0, 0] / 200, targets[:, 0], atol=1e-5)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)
    assert ((targets > 0.05) & (targets < 0.95)).any()


def test_cutmix_mixes_targets_by_the_pixels_it_pastes():
    images = np.zeros((100, 10, 10, 1), "uint8")
    images[::2] = 200
    changed, targets = apply(["cutmix"], images)
    np.testing.assert_allclose((changed == 200).mean(axis=(1, 2, 3)), targets[:, 0], atol=1e-5)
    assert set(np.unique(changed)) == {0, 200}
    assert ((targets > 0.05) & (targets < 0.95)).any()


def test_random_erasing_replaces_a_rectangle_in_half_of_the_images():
    changed, _ = apply([{"random_erasing": 0.3}], np.full((300, 20, 20, 1), 255, "uint8"))
    erased = changed[..., 0] != 255
    touched = erased.any(axis=(1, 2))
    assert 0.4 < touched.mean() < 0.6
    rows, columns = erased.any(axis=2).sum(axis=1), erased.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(erased.sum(axis=(1, 2)), rows * columns)
    assert (rows * columns).max() <= 0.3 * 400 * 1.2
    assert (rows[touched] / columns[touched]).max() < 4


def test_color_jitter_stays_in_range_and_within_its_strength(images):
    flat = np.full((100, 4, 4, 3), 100, "uint8")
    changed, _ = apply([{"color_jitter": 0.2}], flat)
    np.testing.assert_allclose(changed.min(axis=(1, 2, 3)), changed.max(axis=(1, 2, 3)), atol=1e-3)
    assert 80 <= changed.min() < 85 and 115 < changed.max() <= 120.001, "a flat image has no contrast, nor saturation"
    wild, _ = apply([{"color_jitter": 0.9}], images)
    assert wild.min() >= 0 and wild.max() <= 255


def test_neighbouring_maps_become_one_interpolation(images):
    """Half a pixel there and half a pixel back is the identity as one map, and a blur as two."""
    there, back = ([[1, 0, shift], [0, 1, 0], [0, 0, 1]] for shift in (0.5, -0.5))
    inner = tf.cast(images[:1], tf.float32)
    once = warp(inner, tf.matmul(tf.constant([there]), tf.constant([back])))
    twice = warp(warp(inner, tf.constant([there])), tf.constant([back]))
    np.testing.assert_allclose(once, inner, atol=1e-3)
    assert np.abs(twice - inner).max() > 10


PHOTO = np.floor(255 * np.random.default_rng(5).uniform(0.05, 1, (4, 96, 96, 3)) ** 2).astype("float32")


@pytest.mark.parametrize(("name", "reference"), [
    ("equalize", PIL.ImageOps.equalize), ("auto_contrast", PIL.ImageOps.autocontrast),
    ("posterize", lambda image: PIL.ImageOps.posterize(image, 6)),
    ("solarize", lambda image: PIL.ImageOps.solarize(image, 128)),
    ("color", lambda image: PIL.ImageEnhance.Color(image).enhance(1.45)),
    ("contrast", lambda image: PIL.ImageEnhance.Contrast(image).enhance(1.45)),
    ("brightness", lambda image: PIL.ImageEnhance.Brightness(image).enhance(1.45)),
    ("sharpness", lambda image: PIL.ImageEnhance.Sharpness(image).enhance(1.45))])
def test_a_change_of_the_bank_is_pils(name, reference):
    result = np.clip(PHOTOMETRIC[name](PHOTO, 0.5, np.ones((4, 1, 1, 1), "float32")), 0, 255)
    expected = np.stack([np.asarray(reference(PIL.Image.fromarray(image.astype("uint8")))) for image in PHOTO])
    inner = np.abs(result - expected.astype("float32"))[:, 1:-1, 1:-1]
    assert inner.max() <= (8 if name == "equalize" else 2)


def test_each_image_gets_a_change_of_its_own():
    same = np.repeat(PHOTO[:1], 64, axis=0)
    changed, _ = apply([{"rand_augment": {"magnitude": 8, "changes": 1}}], same)
    kinds = {image.tobytes() for image in changed}
    assert len(kinds) > 10 and PHOTO[0].tobytes() in kinds


def test_augmix_stays_between_images_and_changes_them():
    changed, _ = apply([{"augmix": 5}], PHOTO)
    assert changed.min() >= 0 and changed.max() <= 255 and np.abs(changed - PHOTO).max() > 5
    mild, _ = apply([{"augmix": {"severity": 0}}], PHOTO)
    assert np.abs(mild - PHOTO).mean() < np.abs(changed - PHOTO).mean()


def test_a_resized_crop_is_a_part_enlarged():
    ramp = np.broadcast_to(np.arange(32, dtype="float32")[None, None, :, None] * 8, (200, 32, 32, 1))
    changed, _ = apply([{"resized_crop": 0.25}], ramp)
    steps = np.diff(changed[:, 16, 4:-4, 0], axis=1).mean(axis=1) / 8
    assert steps.min() > 0.4 and steps.max() <= 1.001 and steps.mean() < 0.95
    assert (changed[:, 2:-2, 2:-2] > 0).mean() > 0.98, "nothing comes from outside the image"


def halves(size, count=40):
    """Return images of two halves, dark and bright, as different examples have them, and their masks, one-hot."""
    rows, columns = np.indices((size, size)) * 2 // size
    bright = np.stack([(rows, columns, rows ^ columns)[number % 3] for number in range(count)])
    return (bright * 200).astype("uint8")[..., None], np.eye(2, dtype="float32")[bright]


@pytest.mark.parametrize("written", [{"rotate": 40}, {"shift": 0.3}, {"zoom": 0.3}, "flip", {"crop": 3}, "resized_crop",
                                     {"rand_augment": {"magnitude": 8, "changes": 1}}])
def test_a_mask_goes_where_its_image_goes(written):
    images, masks = halves(32)
    inputs, targets = apply_to([written], {"image": images}, {"mask": masks})
    mask = targets["mask"]
    assert set(np.unique(mask)) <= {0, 1} and mask.sum(axis=-1).max() == 1, "a pixel has its class, or none"
    if "rand_augment" in written:  # of which about half change values, and then no pixel moves
        moved = (mask != masks).any(axis=(1, 2, 3))
        assert 0.2 < moved.mean() < 0.8
        inputs, mask = {"image": inputs["image"][moved]}, mask[moved]
    values, bright = inputs["image"][..., 0], mask[..., 1] == 1
    between = (values > 1) & (values < 199)  # where interpolation mixes the halves
    np.testing.assert_array_equal(bright[~between], values[~between] > 100)
    assert between.mean() < 0.35


@pytest.mark.parametrize(("written", "moves"), [
    ("flip", lambda one: [one, one[:, ::-1]]), ({"flip": "vertical"}, lambda one: [one, one[::-1]]),
    ({"crop": 1}, lambda one: [np.pad(one, ((1, 1), (1, 1), (0, 0)))[y:y + 12, x:x + 12]
                               for y in range(3) for x in range(3)])])
def test_a_whole_move_of_a_mask_is_exactly_that_of_its_image(written, moves):
    """Each pixel has a class of its own that is its grey value: one of the known moves, the same in both."""
    image = np.random.default_rng(0).permutation(144).astype("uint8").reshape(12, 12, 1)
    classes = np.eye(144, dtype="float32")[image[..., 0]]
    inputs, targets = apply_to([written], {"image": np.repeat(image[None], 40, 0)},
                               {"mask": np.repeat(classes[None], 40, 0)})
    expected = moves(image)
    seen = {next(number for number, one in enumerate(expected) if np.array_equal(one, moved))
            for moved in inputs["image"].astype("uint8")}
    assert seen == set(range(len(expected)))
    known = targets["mask"].any(-1)
    np.testing.assert_array_equal(targets["mask"].argmax(-1)[known], inputs["image"][..., 0][known])
    assert (inputs["image"][..., 0][~known] == 0).all(), "what comes from outside is black, and of no class"
    if "crop" not in written:
        assert known.all()


def test_a_quarter_turn_of_a_mask_is_exactly_that_of_its_image():
    angle = np.pi / 2
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]], "float32")[None]
    image = np.arange(81, dtype="float32").reshape(1, 9, 9, 1)
    classes = np.eye(81, dtype="float32")[image[..., 0].astype(int)]
    moved = geometric.moved({"image": tf.constant(image), "mask": tf.constant(classes)}, ROLES, tf.constant(turn))
    turned = np.rot90(image[0, ..., 0])
    np.testing.assert_allclose(moved["image"][0, ..., 0], turned, atol=1e-3)
    np.testing.assert_array_equal(np.argmax(moved["mask"][0], -1), turned)


@pytest.mark.parametrize("written", ["color_jitter", {"cutout": 0.4}, "random_erasing"])
def test_what_changes_values_leaves_masks_alone(written):
    images, masks = halves(16)
    inputs, targets = apply_to([written], {"image": images}, {"mask": masks})
    np.testing.assert_array_equal(targets["mask"], masks)
    assert (inputs["image"] != images).any()


def test_a_mask_of_another_size_moves_by_as_much_of_itself():
    images, _ = halves(32)
    _, masks = halves(16)
    inputs, targets = apply_to([{"shift": 0.25}, {"rotate": 20}], {"image": images}, {"mask": masks})
    small = inputs["image"][..., 0].reshape(40, 16, 2, 16, 2).mean(axis=(2, 4))
    clear = (small < 1) | (small > 199)
    agree = (targets["mask"][..., 1] == 1) == (small > 100)
    assert agree[clear].mean() > 0.99


def test_two_images_of_an_example_move_alike(images):
    inputs, _ = apply_to([{"rotate": 30}, {"shift": 0.2}, "color_jitter"], {"image": images, "second": images}, {})
    np.testing.assert_array_equal(inputs["image"], inputs["second"])


@pytest.mark.parametrize("written", ["color_jitter", {"cutout": 0.4}, "random_erasing", "flip", {"rotate": 20}])
def test_what_is_no_image_stays_as_it_is(images, written):
    ages, labels = np.arange(64, dtype="float32"), np.eye(2, dtype="float32")[np.arange(64) % 2]
    inputs, targets = apply_to([written], {"image": images, "age": ages}, {"label": labels})
    np.testing.assert_array_equal(inputs["age"], ages)
    np.testing.assert_array_equal(targets["label"], labels)
    assert (inputs["image"] != images).any()


def test_mixup_mixes_every_part_of_an_example_in_the_same_share():
    columns = np.repeat([[0.0, 0.0], [10.0, 20.0]], 50, axis=0).astype("float32")
    inputs, targets = apply_to([{"mixup": 1.0}], {"age": columns}, {"label": columns[:, :1] / 10})
    np.testing.assert_allclose(inputs["age"][:, 0] / 10, targets["label"][:, 0], atol=1e-5)
    np.testing.assert_allclose(inputs["age"][:, 1] / 20, targets["label"][:, 0], atol=1e-5)
    assert ((targets["label"] > 0.05) & (targets["label"] < 0.95)).any()


def test_cutmix_pastes_masks_with_their_images_and_mixes_labels_by_the_pixels():
    images, masks = halves(10)
    inputs, targets = apply_to(["cutmix"], {"image": images}, {"mask": masks, "label": masks[:, 0, 0]})
    np.testing.assert_array_equal(targets["mask"][..., 1], inputs["image"][..., 0] / 200)
    assert (inputs["image"] != images).any()


def test_masks_that_are_inputs_move_too_and_are_of_no_class_outside():
    images, masks = halves(10)
    given = {"image": images, "mask": masks.argmax(-1).astype("float32")}
    inputs, _ = apply_to([{"shift": 0.4}, "cutmix"], given, {"label": masks[:, 0, 0]})
    assert inputs["mask"].shape == (40, 10, 10)
    outside = inputs["mask"] == 255
    assert 0 < outside.mean() < 0.5 and set(np.unique(inputs["mask"])) == {0, 1, 255}
    bright = inputs["image"][..., 0] > 100
    assert (bright == (inputs["mask"] == 1))[~outside].mean() > 0.9


def test_hue_saturation_and_value_are_those_of_colorsys(images):
    """Hue turns colours, and leaves grey; what they are is what Python's colorsys says."""
    import colorsys

    entry_of = entry({"hsv": {"hue": 0.5, "saturation": 0.0, "value": 0.0}})
    turned = entry_of.change(tf.constant(images[:8], tf.float32), tf.constant([3, 4])).numpy()
    for before, after in zip(images[:8, 0, 0] / 255, turned[:, 0, 0] / 255, strict=True):
        was, now = colorsys.rgb_to_hsv(*before), colorsys.rgb_to_hsv(*after)
        np.testing.assert_allclose(now[1:], was[1:], atol=1e-4)
    assert np.abs(turned - images[:8]).max() > 20
    grey = np.full((4, 3, 3, 3), 90.0, "float32")
    np.testing.assert_allclose(entry_of.change(tf.constant(grey), tf.constant([3, 4])), grey, atol=1e-3)
    brighter = entry({"hsv": {"hue": 0, "saturation": 0, "value": 0.4}}).change(tf.constant(grey), tf.constant([3, 4]))
    shares = brighter.numpy()[:, 0, 0, 0] / 90
    assert len(set(shares.tolist())) == 4 and (abs(shares - 1) <= 0.4).all()


def test_some_augmentations_mix_targets():
    assert [name for name, choice in Augmentation.choices.items() if choice.mixes_targets] == ["cutmix", "mixup"]


@pytest.mark.parametrize(("written", "roles", "expected"), [
    ("flip", {"age": "values"}, "flip changes images, and an example has none"),
    ("cutmix", {"age": "values"}, "cutmix changes images, and an example has none"),
    ("mixup", {"words": "tokens"}, "mixup mixes numbers, and tokens cannot be mixed"),
    ("augmix", {"image": "image", "mask": "mask"}, "augmix mixes images that were moved differently"),
    *((written, {"image": "image", "boxes": "boxes"}, f"{written} does not change boxes so far, and an example has")
      for written in ("rand_augment", "augmix", "cutout", "random_erasing", "cutmix")),
    *((written, {"image": "image", "boxes": "boxes"}, None)
      for written in ("rotate", "shift", "zoom", "flip", "crop", "resized_crop", "affine", "scale_jitter", "hsv",
                        "mosaic", "mixup")),
    ("color_jitter", {"image": "image", "boxes": "boxes"}, None),
    ("mixup", {"age": "values"}, None), ("rand_augment", {"image": "image", "mask": "mask"}, None)])
def test_an_augmentation_says_what_it_does_not_go_with(written, roles, expected):
    reason = entry(written).misfit(roles)
    assert reason is None if expected is None else reason.startswith(expected)
