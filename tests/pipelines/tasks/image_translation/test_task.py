"""What translated images are worth, against scikit-image, and what does not go together."""
import numpy as np
import pytest
import scipy.ndimage
import skimage.metrics

from pipelines.errors import UserError
from pipelines.ingest.sources.source import Source
from pipelines.tasks.image_translation import ImageTranslation, baselines, measure
from pipelines.training.model_section import ModelSection

GENERATOR = np.random.default_rng(0)
IMAGES = scipy.ndimage.gaussian_filter(GENERATOR.uniform(0, 255, (3, 20, 24, 3)), (0, 2, 2, 0)).astype("uint8")
OTHERS = np.clip(IMAGES + GENERATOR.normal(0, 9, IMAGES.shape), 0, 255).astype("uint8")


def test_likeness_is_that_of_scikit_image():
    for one, other, ssim, psnr in zip(IMAGES, OTHERS, measure.similarity(IMAGES, OTHERS),
                                      measure.signal_to_noise(IMAGES, OTHERS), strict=True):
        _, full = skimage.metrics.structural_similarity(
            one, other, data_range=255, channel_axis=-1, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, full=True)
        np.testing.assert_allclose(ssim, full[5:-5, 5:-5].mean(), atol=1e-4)
        np.testing.assert_allclose(psnr, skimage.metrics.peak_signal_noise_ratio(one, other, data_range=255), rtol=1e-6)
    assert measure.signal_to_noise(IMAGES, IMAGES).tolist() == [100.0] * 3


def test_examples_without_targets_are_measured_by_what_comes_back():
    likeness = measure.Likeness(paired=False)
    wrong = likeness.add({}, {"generated": OTHERS, "cycled": IMAGES + 2.0, "image": IMAGES})
    np.testing.assert_allclose(wrong, [2 / 255] * 3)
    assert likeness.result().metrics == {"cycle_error": 2.0}


def test_a_linear_filter_is_found_where_there_is_one():
    kernel = GENERATOR.normal(size=(7, 7, 3)) / 20
    images = IMAGES.astype(float)
    made = sum(scipy.ndimage.correlate(images[..., channel], kernel[None, ..., channel], mode="constant")
               for channel in range(3))[..., None] + 40
    weights = baselines.fitted([(images[:2], made[:2])])
    np.testing.assert_allclose(baselines.applied(weights, images), made, atol=1e-2)


def task_of(builder, **settings):
    return ImageTranslation(**settings).of_model(ModelSection(builder=builder))


class Section:
    """A section of data of which a task asks the source alone, before it refuses it."""

    def __init__(self, source):
        self.source = Source.read(source)


@pytest.mark.parametrize(("task", "source", "message"), [
    (("pix2pix", {}), {"filtered": {"of": "digits", "paired": False}}, "pix2pix learns by pairs; take .*cyclegan"),
    (("cyclegan", {}), {"two_image_folders": {"path": "a", "paired": False}}, "set it to cycles, and cycle_error is"),
    (("pix2pix", {"test": "cycles"}), {"filtered": "digits"}, "pix2pix has no way back; take .*cyclegan")])
def test_what_does_not_go_together_is_said_in_a_line(task, source, message):
    builder, settings = task
    with pytest.raises(UserError, match=message):
        task_of(builder, **settings).features_of(Section(source), {})


def test_metrics_are_those_that_can_be_measured():
    assert [one.name for one in task_of("cyclegan").metrics] == ["ssim", "psnr", "cycle_error"]
    assert [one.name for one in task_of("cyclegan", test="cycles").metrics] == ["cycle_error"]
