"""1,797 real digits of 8 x 8 pixels that come inside scikit-learn."""
from __future__ import annotations

import tensorflow_datasets as tfds


class Digits(tfds.core.GeneratorBasedBuilder):
    """Handwritten digits reduced to 8 x 8 pixels of 17 grey levels, here scaled to 0..255. Every fifth is held out."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "1,438 training and 359 test digits."}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({
                "image": tfds.features.Image(shape=(8, 8, 1)), "label": tfds.features.ClassLabel(num_classes=10)}),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
            citation="@misc{alpaydin1998optical, title={Optical Recognition of Handwritten Digits}, "
                     "author={Alpaydin, E. and Kaynak, C.}, year={1998}, publisher={UCI Machine Learning Repository}, "
                     "doi={10.24432/C50P49}}")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        return {"train": self._generate_examples(held_out=False), "test": self._generate_examples(held_out=True)}

    def _generate_examples(self, held_out: bool):
        from sklearn.datasets import load_digits

        data = load_digits()
        for number, (image, label) in enumerate(zip(data.images, data.target, strict=True)):
            if (number % 5 == 4) == held_out:
                pixels = (image * (255 / 16)).round().astype("uint8")
                yield number, {"image": pixels.reshape(8, 8, 1), "label": int(label)}
