"""Augmentation of boxes against what is drawn in them."""
import numpy as np
import pytest
import tensorflow as tf

from pipelines.ingest.augmentation import geometric
from tests.pipelines.ingest.test_augment import ROLES, apply_to


def drawn(boxes, size):
    """Return images that are bright inside each example's only box."""
    y, x = (np.arange(side) + 0.5 for side in size)
    ymin, xmin, ymax, xmax = (boxes[:, 0, :4] * [*size, *size]).T[:, :, None, None]
    inside = (y[None, :, None] > ymin) & (y[None, :, None] < ymax) & (x[None, None] > xmin) & (x[None, None] < xmax)
    return np.where(inside, 200, 0).astype("uint8")[..., None]


@pytest.mark.parametrize("written", ["flip", {"flip": "vertical"}, {"shift": 0.2}, {"zoom": 0.3}, {"crop": 6},
                                     {"resized_crop": 0.6}, {"rotate": 180}])
def test_a_box_moves_with_what_is_drawn_in_it(written):
    """It is around the bright pixels, which of a turned box fill its corners no more."""
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
        np.testing.assert_allclose(box[:4], around, atol=2.6 / 48 if written == {"rotate": 180} else 1.6 / 48)


def test_a_box_that_leaves_its_image_is_none_any_more():
    boxes = np.array([[[0.0, 0.0, 0.2, 0.1, 1, 0], [0.4, 0.4, 0.6, 0.6, 2, 1]]], "float32")
    out = np.array([[[1, 0, 3.0], [0, 1, 0], [0, 0, 1]]], "float32")  # three pixels of 20 to the left
    moved = geometric.moved({"image": tf.zeros((1, 20, 20, 3)), "boxes": tf.constant(boxes)}, ROLES, tf.constant(out))
    np.testing.assert_allclose(moved["boxes"][0], [[-1] * 6, [0.4, 0.25, 0.6, 0.45, 2, 1]], atol=1e-6)
