"""Augmentation against closed forms."""
import numpy as np
import PIL.Image
import PIL.ImageEnhance
import PIL.ImageOps
import pytest
import tensorflow as tf

from pipelines.ingest.augmentation import augment
from pipelines.ingest.augmentation.augment_policies import PHOTOMETRIC


def entry(written):
    return augment.Augmentation.read(written)


def apply(entries, images, seed=(1, 2), targets=None):
    targets = np.eye(2, dtype="float32")[np.arange(len(images)) % 2] if targets is None else targets
    changed, mixed = augment.augment([entry(one) for one in entries], tf.constant(images), tf.constant(targets), tf.constant(seed))
    return changed.numpy(), mixed.numpy()


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (64, 9, 9, 3)).astype("uint8")


@pytest.mark.parametrize("written", [{"rotate": 20}, {"shift": 0.2}, {"zoom": 0.3}, "flip", {"crop": 2}, {"cutout": 0.4}, {"mixup": 0.4},
                                     "cutmix", "random_erasing", "color_jitter", "rand_augment", "augmix", "resized_crop"])
def test_the_same_seed_gives_the_same_pictures_and_another_others(images, written):
    first, again, other = apply([written], images), apply([written], images), apply([written], images, seed=(1, 3))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


def test_nothing_asked_changes_nothing(images):
    changed, _ = apply([], images)
    np.testing.assert_array_equal(changed, images)


def test_flip_mirrors_about_half_of_the_pictures_and_leaves_the_others(images):
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
    picture = np.arange(25, dtype="uint8").reshape(1, 5, 5, 1)
    quarter = augment.affine(*(tf.constant([value]) for value in (0.0, -1.0, 1.0, 0.0)))
    turned = augment.warp(tf.cast(picture, tf.float32), quarter).numpy()[0, ..., 0]
    assert np.allclose(turned, np.rot90(picture[0, ..., 0])) or np.allclose(turned, np.rot90(picture[0, ..., 0], -1))


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


def test_mixup_mixes_pictures_and_targets_in_the_same_share():
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


def test_random_erasing_replaces_a_rectangle_in_half_of_the_pictures():
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
    assert 80 <= changed.min() < 85 and 115 < changed.max() <= 120.001, "a grey picture has neither contrast nor saturation"
    wild, _ = apply([{"color_jitter": 0.9}], images)
    assert wild.min() >= 0 and wild.max() <= 255


def test_neighbouring_maps_become_one_interpolation(images):
    """Half a pixel there and half a pixel back is the identity as one map, and a blur as two."""
    there, back = ([[1, 0, shift], [0, 1, 0], [0, 0, 1]] for shift in (0.5, -0.5))
    inner = tf.cast(images[:1], tf.float32)
    once = augment.warp(inner, tf.matmul(tf.constant([there]), tf.constant([back])))
    twice = augment.warp(augment.warp(inner, tf.constant([there])), tf.constant([back]))
    np.testing.assert_allclose(once, inner, atol=1e-3)
    assert np.abs(twice - inner).max() > 10


PHOTO = np.floor(255 * np.random.default_rng(5).uniform(0.05, 1, (4, 96, 96, 3)) ** 2).astype("float32")


@pytest.mark.parametrize(("name", "reference"), [
    ("equalize", PIL.ImageOps.equalize), ("auto_contrast", PIL.ImageOps.autocontrast),
    ("posterize", lambda picture: PIL.ImageOps.posterize(picture, 6)), ("solarize", lambda picture: PIL.ImageOps.solarize(picture, 128)),
    ("color", lambda picture: PIL.ImageEnhance.Color(picture).enhance(1.45)),
    ("contrast", lambda picture: PIL.ImageEnhance.Contrast(picture).enhance(1.45)),
    ("brightness", lambda picture: PIL.ImageEnhance.Brightness(picture).enhance(1.45)),
    ("sharpness", lambda picture: PIL.ImageEnhance.Sharpness(picture).enhance(1.45))])
def test_a_change_of_the_bank_is_pils(name, reference):
    found = np.clip(PHOTOMETRIC[name](PHOTO, 0.5, np.ones((4, 1, 1, 1), "float32")), 0, 255)
    expected = np.stack([np.asarray(reference(PIL.Image.fromarray(picture.astype("uint8")))) for picture in PHOTO]).astype("float32")
    inner = np.abs(found - expected)[:, 1:-1, 1:-1]
    assert inner.max() <= (8 if name == "equalize" else 2)


def test_each_picture_gets_a_change_of_its_own():
    same = np.repeat(PHOTO[:1], 64, axis=0)
    found, _ = apply([{"rand_augment": {"magnitude": 8, "changes": 1}}], same)
    kinds = {picture.tobytes() for picture in np.asarray(found)}
    assert len(kinds) > 10 and PHOTO[0].tobytes() in kinds


def test_augmix_stays_between_pictures_and_changes_them():
    found, _ = apply([{"augmix": 5}], PHOTO)
    assert np.min(found) >= 0 and np.max(found) <= 255 and np.abs(found - PHOTO).max() > 5
    mild, _ = apply([{"augmix": {"severity": 0}}], PHOTO)
    assert np.abs(mild - PHOTO).mean() < np.abs(found - PHOTO).mean()


def test_a_resized_crop_is_a_part_enlarged():
    ramp = np.broadcast_to(np.arange(32, dtype="float32")[None, None, :, None] * 8, (200, 32, 32, 1))
    found, _ = apply([{"resized_crop": 0.25}], ramp)
    steps = np.diff(np.asarray(found)[:, 16, 4:-4, 0], axis=1).mean(axis=1) / 8
    assert steps.min() > 0.4 and steps.max() <= 1.001 and steps.mean() < 0.95
    assert (np.asarray(found)[:, 2:-2, 2:-2] > 0).mean() > 0.98, "nothing comes from outside the picture"
