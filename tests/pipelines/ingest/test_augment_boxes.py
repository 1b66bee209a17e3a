"""Augmentation of boxes against what is drawn in them."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines.ingest.augmentation import geometric
from tests.pipelines.ingest.test_augment import ROLES, apply_to, entry


def drawn(boxes, size):
    """Return images that are bright inside each example's only box."""
    y, x = (np.arange(side) + 0.5 for side in size)
    ymin, xmin, ymax, xmax = (boxes[:, 0, :4] * [*size, *size]).T[:, :, None, None]
    inside = (y[None, :, None] > ymin) & (y[None, :, None] < ymax) & (x[None, None] > xmin) & (x[None, None] < xmax)
    return np.where(inside, 200, 0).astype("uint8")[..., None]


@pytest.mark.parametrize("written", ["flip", {"flip": "vertical"}, {"shift": 0.2}, {"zoom": 0.3}, {"crop": 6},
                                     {"resized_crop": 0.6}, {"rotate": 180}, {"affine": {"scale": 0.3}},
                                     {"affine": {"shear": 15, "degrees": 20}},
                                     {"scale_jitter": {"smallest": 0.7, "largest": 1.2}}])
def test_a_box_moves_with_what_is_drawn_in_it(written):
    """It is around the bright pixels, which of a turned box fill its corners no more."""
    turned = written in ({"rotate": 180}, {"affine": {"shear": 15, "degrees": 20}})
    generator, size = np.random.default_rng(0), (48, 64)
    corners = generator.uniform(0.3, 0.45, (40, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(0.1, 0.25, (40, 2)), np.tile([3.0, 0.0], (40, 1))], 1)
    boxes = np.stack([boxes, np.full_like(boxes, -1)], axis=1).astype("float32")
    inputs, targets = apply_to([written], {"image": drawn(boxes, size)}, {"boxes": boxes})
    moved = targets["boxes"]
    assert (moved[:, 1] == -1).all() and moved.shape == boxes.shape
    kept = moved[:, 0, 4] == 3
    assert kept.mean() > 0.9 and np.abs(moved[kept] - boxes[kept]).max() > 0.01
    for image, (box, _) in zip(inputs["image"][kept], moved[kept], strict=True):
        rows, columns = np.nonzero(image[..., 0] > 100)
        around = [rows.min() / 48, columns.min() / 64, (rows.max() + 1) / 48, (columns.max() + 1) / 64]
        np.testing.assert_allclose(box[:4], around, atol=2.6 / 48 if turned else 1.6 / 48)


def test_an_affine_map_shifts_by_shares_of_the_image_whatever_its_scale():
    """The image's centre goes as far as `shift` allows, no farther, of enlarged images and of reduced ones."""
    written = {"affine": {"degrees": 30, "shear": 10, "scale": 0.9, "shift": 0.2}}
    matrix = entry(written).matrix(4000, 50, 100, tf.constant([1, 2]))
    x, y = np.asarray(tf.linalg.inv(matrix))[:, :2, 2].T / [[100], [50]]
    larger = np.abs(np.linalg.det(np.asarray(matrix)[:, :2, :2])) < 1
    for scaled in (larger, ~larger):
        for shift in (x[scaled], y[scaled]):
            assert np.abs(shift).max() == pytest.approx(0.2, rel=0.01)


def test_a_box_that_leaves_its_image_is_none_any_more():
    boxes = np.array([[[0.0, 0.0, 0.2, 0.1, 1, 0], [0.4, 0.4, 0.6, 0.6, 2, 1]]], "float32")
    out = np.array([[[1, 0, 3.0], [0, 1, 0], [0, 0, 1]]], "float32")  # three pixels of 20 to the left
    moved = geometric.moved({"image": tf.zeros((1, 20, 20, 3)), "boxes": tf.constant(boxes)}, ROLES, tf.constant(out))
    np.testing.assert_allclose(moved["boxes"][0], [[-1] * 6, [0.4, 0.25, 0.6, 0.45, 2, 1]], atol=1e-6)


def coloured(count, size, most):
    """Return dark images with a square each, whose brightness says which image it is of, and their boxes."""
    images, boxes = np.full((count, *size, 1), 20, "uint8"), np.full((count, most, 6), -1, "float32")
    generator = np.random.default_rng(1)
    for number in range(count):
        y, x = generator.integers(8, 36), generator.integers(8, 50)
        images[number, y:y + 8, x:x + 10] = 100 + 10 * number
        boxes[number, 0] = [y / size[0], x / size[1], (y + 8) / size[0], (x + 10) / size[1], number, 0]
    return images, boxes


@pytest.mark.parametrize("smallest", [1.0, 0.6])
def test_a_mosaic_has_four_images_each_with_its_boxes(smallest):
    images, boxes = coloured(12, (48, 64), 4)
    inputs, targets = apply_to([{"mosaic": {"share": 1, "smallest": smallest}}], {"image": images}, {"boxes": boxes})
    several = 0
    for image, rows in zip(inputs["image"], targets["boxes"], strict=True):
        kept = rows[rows[:, 4] >= 0]
        several += len(kept) > 1
        for ymin, xmin, ymax, xmax, number, _ in kept:
            middle = image[int((ymin + ymax) / 2 * 48), int((xmin + xmax) / 2 * 64), 0]
            assert abs(middle - (100 + 10 * number)) < 12, "what is in the box is what it is said to be"
        inside = np.zeros((48, 64), bool)
        for ymin, xmin, ymax, xmax, *_ in kept:
            inside[max(0, int(ymin * 48) - 1):int(ymax * 48) + 2, max(0, int(xmin * 64) - 1):int(xmax * 64) + 2] = True
        bright = (image[..., 0] > 90) & ~inside
        assert bright.sum() <= 0.4 * 80 * 3, "what has no box any more is the smaller part of one that was cut"
    assert several >= 6
    assert (inputs["image"] > 5).mean() > (0.97 if smallest == 1 else 0.6), "the four fill the image"


def test_an_image_whose_boxes_would_not_all_fit_stays_as_it_is():
    images, boxes = coloured(8, (48, 64), 1)
    for written in ({"mosaic": 1}, "mixup"):
        inputs, targets = apply_to([written], {"image": images}, {"boxes": boxes})
        alone = [number for number, rows in enumerate(targets["boxes"]) if (rows == boxes[number]).all()]
        assert len(alone) >= 4
        for number in alone:
            if (targets["boxes"][number, 0, :4] == boxes[number, 0, :4]).all():
                assert np.abs(inputs["image"][number] - images[number]).max() < 60


def test_a_mixture_of_images_has_the_boxes_of_both():
    images, boxes = coloured(8, (48, 64), 3)
    inputs, targets = apply_to([{"mixup": 8.0}], {"image": images}, {"boxes": boxes})
    counts = (targets["boxes"][..., 4] >= 0).sum(axis=1)
    assert (counts == 2).sum() >= 6 and (targets["boxes"][:, 0] == boxes[:, 0]).all()
    for image, rows in zip(inputs["image"], targets["boxes"], strict=True):
        for ymin, xmin, ymax, xmax, *_ in rows[rows[:, 4] >= 0]:
            assert image[int((ymin + ymax) / 2 * 48), int((xmin + xmax) / 2 * 64), 0] > 40


@pytest.mark.parametrize(("target", "alpha"), [("boxes", 1.5), ("label", 0.2)])
def test_the_share_of_a_mixture_is_drawn_for_what_is_mixed(target, alpha):
    """The variance of Beta(a, a) is 1 / (4 * (2 * a + 1))."""
    count = 2000
    images = np.zeros((count, 1, 1, 1), "uint8")
    images[::2] = 200
    targets = {"boxes": np.full((count, 2, 6), -1, "float32"), "label": np.ones((count, 2), "float32")}[target]
    inputs, _ = apply_to(["mixup"], {"image": images}, {target: targets})
    shares = np.abs(inputs["image"] - images)[..., 0].ravel() / 200  # 0 where its partner is alike
    mixed = shares[shares > 0]
    assert len(mixed) > 900 and np.mean((mixed - 0.5)**2) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_a_mosaic_of_masks_has_the_classes_of_its_pixels():
    images, _ = coloured(8, (48, 64), 1)
    masks = np.stack([images[..., 0] < 90, images[..., 0] >= 90], axis=-1).astype("float32")
    inputs, targets = apply_to([{"mosaic": 1}], {"image": images}, {"mask": masks})
    there = targets["mask"].sum(axis=-1)
    assert set(np.unique(there)) <= {0.0, 1.0} and there.mean() > 0.5
    clear = np.abs(inputs["image"][..., 0] - 55) > 30
    agree = (targets["mask"][..., 1] == (inputs["image"][..., 0] > 60)) | (there == 0)
    assert agree[clear].mean() > 0.98


def test_a_mosaic_of_what_has_one_class_is_refused():
    reason = entry("mosaic").misfit({"image": "image", "label": "label"})
    assert reason == "mosaic puts four images into one, which have no label together; leave it out"
    assert entry("mosaic").misfit({"image": "image", "boxes": "boxes", "mask": "mask"}) is None
