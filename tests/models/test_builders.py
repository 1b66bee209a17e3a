"""The builders against their papers."""
import subprocess
import sys

import keras
import numpy as np
import pytest

import models
from tests.conftest import ROOT

#: All parameters, and those that training changes, at the paper's setting.
PARAMETERS = {
    "resnet8": (78_666, None),  # MLPerf Tiny, github.com/mlcommons/tiny
    "ds_cnn": (24_908, 23_756),  # MLPerf Tiny
    "ds_cnn_audio": (24_908, 23_756),
    "bc_resnet": (None, 9_232),  # the paper's BC-ResNet-1 has 9.2 k, and the authors' code 9,232
    "crnn": (229_474, None),  # 229 k in the paper
    # the closed forms in test_hearing
    "wav2letter": (23_284_530, None), "deepspeech2": (1_313_662, None), "conformer": (2_551_422, None),
    "lenet5": (60_000 + 850, None),  # the paper's C1 to F6, and ten logits in the place of its RBF units
    # 0.27, 0.85, 1.7 M: table 6 of the paper
    "resnet20": (None, 269_722), "resnet56": (None, 853_018), "resnet110": (None, 1_727_962),
    "resnet18": (None, 11_689_512), "resnet34": (None, 21_797_672),  # torchvision
    # keras.applications, as all below
    "resnet50": (25_636_712, None), "resnet101": (44_707_176, None), "resnet152": (60_419_944, None),
    "resnet50_v2": (25_613_800, None), "resnet101_v2": (44_675_560, None), "resnet152_v2": (60_380_648, None),
    "vgg11": (132_863_336, None), "vgg13": (133_047_848, None),  # torchvision
    "vgg16": (138_357_544, None), "vgg19": (143_667_240, None),
    "squeezenet": (1_235_496, None),  # torchvision
    "mobilenet_v1": (4_253_864, None), "mobilenet_v2": (3_538_984, None),
    "mobilenet_v3_small": (2_554_968, None), "mobilenet_v3_large": (5_507_432, None),
    "alexnet": (60_965_224, None), "googlenet": (6_998_552, None),  # the authors' and Berkeley's Caffe models
    "inception_v3": (23_851_784, None), "densenet121": (8_062_504, None), "densenet169": (14_307_880, None),
    "densenet201": (20_242_984, None), "convnext_tiny": (28_589_128, None), "convnext_small": (50_223_688, None),
    "convnext_base": (88_591_464, None),
    "efficientnet_b0": (5_330_571, None), "efficientnet_b1": (7_856_239, None), "efficientnet_b2": (9_177_569, None),
    "efficientnet_b3": (12_320_535, None), "efficientnet_b4": (19_466_823, None), "efficientnet_b5": (30_562_527, None),
    "efficientnet_b6": (43_265_143, None), "efficientnet_b7": (66_658_687, None),
    "efficientnet_v2_b0": (7_200_312, None), "efficientnet_v2_b1": (8_212_124, None),
    "efficientnet_v2_b2": (10_178_374, None),
    "efficientnet_v2_b3": (14_467_622, None), "efficientnet_v2_s": (21_612_360, None),
    "shufflenet_v2_x0_5": (None, 1_366_792), "shufflenet_v2": (None, 2_278_604),
    "shufflenet_v2_x1_5": (None, 3_503_624),
    "shufflenet_v2_x2": (None, 7_393_996),  # torchvision
    # timm, as all below
    "vit_tiny": (5_717_416, None), "vit_small": (22_050_664, None), "vit_base": (86_567_656, None),
    # the closed forms in test_text_models.py
    "seq2seq": (464_848, None), "language_lstm": (350_211, None), "language_gru": (268_803, None),
    "language_rnn": (103_683, None),
    "textcnn": (6_360_902, None), "text_lstm": (2_659_074, None), "text_gru": (2_634_754, None),
    "text_rnn": (2_584_962, None), "fasttext": (1_200_020, None),
    "bilstm_tagger": (2_162_609, None),
    # the closed forms in test_transformer_models.py; of those with a name, the published weights
    "gpt": (818_304, None), "gpt2": (124_439_808, None), "gpt2_medium": (354_823_168, None),
    "gpt2_large": (774_030_080, None), "gpt2_xl": (1_557_611_200, None),
    "gpt3": (174_604_259_328, None),  # 175 B in the paper's table 2.1
    "llama": (821_120, None), "llama_7b": (6_738_415_616, None), "llama_13b": (13_015_864_320, None),
    "llama_33b": (32_528_943_616, None), "llama_65b": (65_285_660_672, None),
    "llama3_8b": (8_030_261_248, None), "llama3_70b": (70_553_706_496, None),
    "mistral": (821_120, None), "mistral_7b": (7_241_732_096, None),
    "qwen2": (814_080, None), "qwen2_0_5b": (494_032_768, None), "qwen2_1_5b": (1_543_714_304, None),
    "qwen2_7b": (7_615_616_512, None), "qwen3": (812_800, None), "qwen3_0_6b": (596_049_920, None),
    "qwen3_1_7b": (1_720_574_976, None), "qwen3_4b": (4_022_468_096, None), "qwen3_8b": (8_190_735_360, None),
    "gemma": (960_000, None), "gemma_2b": (2_506_172_416, None), "gemma_7b": (8_537_680_896, None),
    "gemma3": (1_437_568, None), "gemma3_270m": (268_098_176, None), "gemma3_1b": (999_885_952, None),
    "transformer": (946_176, None), "transformer_base": (63_082_496, None), "transformer_big": (214_245_376, None),
    "t5": (939_776, None), "t5_small": (60_506_624, None), "t5_base": (222_903_552, None),
    "t5_large": (737_668_096, None), "t5_3b": (2_851_598_336, None), "t5_11b": (11_307_321_344, None),
    # the published encoders with the pooler, and two logits
    "bert": (2_982_018, None), "bert_base": (109_482_240 + 769 * 2, None),
    "bert_large": (335_141_888 + 1025 * 2, None), "bert_tagger": (2_966_409, None),
    "bert_mlm": (3_002_016, None), "bert_pair": (2_990_339, None), "bert_embedder": (2_965_248, None),
    # the published classifier with two logits; of RoBERTa without the two positions that no token stands at, and
    # without the one vector of segments
    "distilbert": (2_981_762, None), "distilbert_base": (66_955_010, None), "roberta": (2_981_762, None),
    "roberta_base": (124_647_170 - 3 * 768, None), "roberta_large": (355_361_794 - 3 * 1024, None),
    "bert_qa": (4_353_282, None), "t5_summarizer": (939_776, None), "seq2seq_summarizer": (464_848, None),
    "dlinear": (2 * 96 * 337, None),  # two maps from 336 to 96 steps
    "tcn": (69_985, None),  # 70 K in the paper's table 1, the adding problem over 600 steps
    # the closed forms in test_series.py
    "nbeats": (25_224_704, None), "series_lstm": (16_961, None), "series_gru": (12_929, None),
    "lstm_autoencoder": (12_708, 12_705), "lstm_predictor": (4_619, 4_616),
    # the closed forms in test_tables.py
    "mlp": (35_458, None), "wide_and_deep": (665_874, None), "ft_transformer": (894_913, None),
    "mobilevit_xxs": (None, 1_272_024), "mobilevit_xs": (None, 2_317_848), "mobilevit_s": (None, 5_578_632),
    # the makers' 3,157,200, 11,166,560 and so on, without 16 constants
    "yolov8": (None, 3_157_184), "yolov8n": (None, 3_157_184), "yolov8s": (None, 11_166_544),
    "yolov8m": (None, 25_902_624), "yolov8l": (None, 43_691_504), "yolov8x": (None, 68_229_632),
    # torchvision's 34,014,999 and 41,755,286, with the four numbers of each of the backbone's 26,560
    # normalized channels, of which two are trained, and the biases before them
    "retinanet": (34_014_999 + 106_240 + 26_560, 34_014_999 + 53_120 + 26_560),
    "faster_rcnn": (41_755_286 + 106_240 + 26_560, 41_755_286 + 53_120 + 26_560),
    "yolov3": (62_001_757, 61_949_149),  # the authors' file of weights
    "ssd_mobilenet_v2": (None, 18_160_208), "ssdlite": (None, 4_466_064),  # the paper says 4.3 M of ssdlite
    "blazeface": (73_144, 71_272),  # counted block by block of the paper's table 4 in test_blazeface
    # 0.99 M in the paper's table 2
    "mobilefacenet": (None, 1_003_136),
    # 24.0, 34.1, 43.6 and 65.2 M in the authors' code, with 512 more that are not trained
    "iresnet18": (None, 24_025_088), "iresnet34": (None, 34_138_816), "iresnet50": (None, 43_590_336),
    "iresnet100": (None, 65_155_648),
    # resnet50 without its classifier, 2048 x 512 weights, and four numbers for each of 512
    "resnet50_embedder": (23_587_712 + 2048 * 512 + 4 * 512, None),
    # layer by layer in test_variational, test_vqvae and test_dcgan
    "vae": (859_490, None), "vqvae": (177_746, None), "dcgan": (36_095_364, None),
    # layer by layer in test_translators_of_images, and as the authors' code counts them
    "pix2pix": (57_182_660, None), "cyclegan": (28_285_832, None),
    "ddpm": (35_746_307, None),  # the authors' model for CIFAR-10
    # layer by layer in test_autoencoder and test_latent_diffusion
    "autoencoder": (86_930, 86_922), "latent_diffusion": (3_698_609, 3_612_228),
    # the authors' two players, layer by layer in test_stylegan2, the noise of 13 layers, and a mean and a length
    "stylegan2": (30_034_338 + 28_864_129 + 174_736 + 513, None),
    "unet": (31_030_658, None),  # counted arrow by arrow of the paper's figure 1 in test_unet
    # the paper's tables say 9.04 M, with the heads that are left out here
    "unet_plus_plus": (9_042_177, None),
    "lraspp": (None, 3_221_538),  # torchvision
    # the parts of the papers in test_segmenters
    "attention_unet": (33_139_206, None), "fcn": (134_368_127, None), "deeplabv3plus": (2_758_597, None),
}
#: Multiply-adds in millions that the papers or benchmarks state, and how far theirs may be rounded.
MULTIPLY_ADDS = {"resnet8": (12.5, 0.1), "resnet18": (1_800, 0.05), "resnet50": (3_800, 0.05),
                 "resnet152": (11_300, 0.05),
                 "mobilenet_v1": (569, 0.01), "mobilenet_v2": (300, 0.05), "mobilenet_v3_large": (219, 0.05),
                 "mobilenet_v3_small": (56, 0.05),
                 "vgg16": (15_500, 0.01), "ds_cnn": (2.7, 0.05), "ds_cnn_audio": (2.7, 0.05),
                 "alexnet": (720, 0.02), "inception_v3": (5_700, 0.02),
                 "efficientnet_b0": (390, 0.02), "convnext_tiny": (4_500, 0.02), "shufflenet_v2": (146, 0.02),
                 "densenet121": (2_800, 0.03), "mobilefacenet": (221, 0.01), "iresnet50": (6_300, 0.02),
                 "yolov8n": (4_350, 0.01), "yolov8s": (14_300, 0.01), "yolov3": (65_860 / 2, 0.01),
                 "ssdlite": (800, 0.06),
                 "mobilevit_s": (2_000, 0.02), "mobilevit_xxs": (400, 0.03), "vit_tiny": (1_300, 0.05)}


#: Those that take seconds to build.
LARGE = ("resnet34", "resnet101", "resnet152", "resnet50_v2", "resnet101_v2", "resnet152_v2", "resnet110", "vgg11",
         "vgg13", "vgg19", "densenet169", "densenet201", "convnext_small", "convnext_base", "efficientnet_b1",
         "efficientnet_b2", "efficientnet_b3", "efficientnet_b4", "efficientnet_b5", "efficientnet_b6",
         "efficientnet_b7", "efficientnet_v2_b1", "efficientnet_v2_b2", "efficientnet_v2_b3", "efficientnet_v2_s",
         "shufflenet_v2_x0_5", "shufflenet_v2_x1_5", "shufflenet_v2_x2", "vit_small",
         "vit_base", "mobilevit_xxs", "mobilevit_xs", "inception_v3", "densenet121", "efficientnet_v2_b0", "alexnet",
         "unet", "unet_plus_plus", "attention_unet", "fcn", "deeplabv3plus", "lraspp", "iresnet34", "iresnet50",
         "iresnet100", "yolov8s", "yolov8m", "yolov8l", "yolov8x", "yolov3", "retinanet", "faster_rcnn")


def test_every_builder_has_a_reference():
    assert {builder.name for builder in models.builders()} == set(PARAMETERS)


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in PARAMETERS])
def test_parameters_and_multiply_adds_are_the_papers(name):
    counted = next(models.census.census([models.builder(name)]))
    parameters, trainable = PARAMETERS[name]
    assert parameters in (None, counted.parameters)
    assert trainable in (None, counted.trainable)
    if name in MULTIPLY_ADDS:
        millions, tolerance = MULTIPLY_ADDS[name]
        assert counted.multiply_adds / 1e6 == pytest.approx(millions, rel=tolerance)


@pytest.mark.parametrize("builder", models.builders(), ids=lambda builder: builder.name)
def test_the_docstring_states_parameters_and_multiply_adds(builder):
    text = builder.function.__doc__
    assert "multiply-adds" in text and "Args:" in text
    parameters, trainable = PARAMETERS[builder.name]
    if builder.name not in ("lenet5", "resnet50_v2", "resnet101_v2", "resnet152_v2"):
        assert f"{trainable or parameters:,}" in text or f"{parameters:,}" in text


def test_lenet_c3_is_connected_as_in_table_1_of_the_paper():
    from models.lenet5 import C3_INPUTS

    model = models.build("lenet5", input_shape=(32, 32, 1), classes=10)
    c3 = [layer for layer in model.layers if layer.name.startswith("c3_")]
    assert len(c3) == 16
    assert sum(layer.count_params() for layer in c3) == 1_516
    assert sorted(len(inputs) for inputs in C3_INPUTS) == [3] * 6 + [4] * 9 + [6]
    assert len(set(C3_INPUTS)) == 16


#: One of each family: the larger ones differ by their repetitions alone.
SMALL = ("convnext_tiny", "googlenet", "shufflenet_v2", "ds_cnn", "lenet5", "mobilenet_v1", "mobilenet_v2",
         "mobilenet_v3_small", "resnet8", "resnet18", "resnet20", "resnet50", "squeezenet", "vgg11")


@pytest.mark.parametrize("name", SMALL)
def test_takes_raw_pixels_and_gives_finite_logits(name):
    model = models.cut(models.build(name, input_shape=(32, 32, 3), classes=7), ["logits"])
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    first = next(layer for layer in model.layers if type(layer).__name__ == "Rescaling")
    assert abs(np.asarray(first(pixels))).max() <= 1.2
    logits = np.asarray(model(pixels, training=False))
    assert logits.shape == (2, 7)
    assert np.isfinite(logits).all()


def test_an_unknown_builder_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="Did you mean resnet8"):
        models.build("resnet9", input_shape=(32, 32, 3), classes=10)


def test_an_unknown_setting_is_refused():
    with pytest.raises(ValueError, match="model resnet8: widht"):
        models.build("resnet8", input_shape=(32, 32, 3), classes=10, widht=3)


@pytest.mark.parametrize("name", ["lenet5", "mobilenet_v2"])
def test_images_that_are_too_small_are_refused_with_what_to_set(name):
    with pytest.raises(ValueError, match=r"at least 32 x 32 pixels, got 28 x 28.*data\.image\.size"):
        models.build(name, input_shape=(28, 28, 3), classes=10)


@pytest.mark.parametrize(("name", "settings", "kind"), [
    ("resnet20", {"spatial_dropout": 0.3}, "SpatialDropout2D"),
    ("resnet18", {"spatial_dropout": 0.3}, "SpatialDropout2D"),
    ("vgg11", {"spatial_dropout": 0.3, "width": 0.25}, "SpatialDropout2D"),
    ("resnet20", {"stochastic_depth": 0.5}, "Dropout"), ("resnet18", {"stochastic_depth": 0.5}, "Dropout")])
def test_what_is_left_out_is_left_out_in_training_alone(name, settings, kind):
    model = models.build(name, input_shape=(32, 32, 3), classes=7, **settings)
    rates = [layer.rate for layer in model.layers if type(layer).__name__ == kind]
    assert len(rates) >= 5 and rates == sorted(rates) and rates[-1] == next(iter(settings.values()))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("float32")
    still, again = (np.asarray(model(pixels, training=False)) for _ in range(2))
    np.testing.assert_array_equal(still, again)
    assert not np.array_equal(np.asarray(model(pixels, training=True)), np.asarray(model(pixels, training=True)))


@pytest.mark.parametrize(("name", "shape"), [
    ("vgg11", (1, 1, 512)), ("resnet50", (1, 1, 2048)), ("mobilenet_v3_small", (1, 1, 576)),
    ("googlenet", (1, 1, 1024)), ("vit_tiny", (192,))])
def test_without_the_top_there_are_the_features_that_it_sees(name, shape):
    model = models.build(name, input_shape=(32, 32, 3), classes=7, include_top=False)
    assert model.output.shape[1:] == shape
    assert not any(layer.name == "logits" for layer in model.layers)


@pytest.fixture
def registered(monkeypatch):
    """A registry that forgets what a test registers."""
    from models import registry

    monkeypatch.setattr(registry, "_builders", dict(registry._builders))


@pytest.fixture
def segmenter(registered):
    """A builder of another task, of an image's dimensions."""
    @models.register("per_pixel", task="segmentation", paper="https://example.org",
                     at={"input_shape": (8, 8, 3), "classes": 2})
    def per_pixel(input_shape: tuple[int, int, int], classes: int, *, filters: int = 4) -> keras.Model:
        """One convolution."""
        pixels = keras.Input(input_shape, name="image")
        x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(pixels)
        return keras.Model(pixels, {"logits": keras.layers.Conv2D(classes, 1)(x)})


@pytest.fixture
def reader(registered):
    """A builder of another task, of dimensions of its own."""
    @models.register("bag_of_words", task=("text", "tagging"), paper="https://example.org",
                     at={"length": 16, "vocabulary": 100, "classes": 3})
    def bag_of_words(length: int, vocabulary: int, classes: int, *, units: int = 8) -> keras.Model:
        """The mean of embedded tokens."""
        tokens = keras.Input((length,), dtype="int32", name="tokens")
        x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(vocabulary, units)(tokens))
        return keras.Model(tokens, keras.layers.Dense(classes, name="logits")(x))


def test_what_stands_before_the_star_are_dimensions_and_what_follows_settings(segmenter, reader):
    images, words = models.builder("per_pixel"), models.builder("bag_of_words")
    assert images.dimensions == ("input_shape", "classes") and list(images.settings().model_fields) == ["filters"]
    assert words.dimensions == ("length", "vocabulary", "classes") and list(words.settings().model_fields) == ["units"]
    assert all(builder.dimensions == ("input_shape", "classes") for builder in models.builders()
               if "image_classification" in builder.tasks)


def test_a_builder_says_what_it_can_be_trained_for(segmenter, reader):
    assert models.builder("per_pixel").tasks == ("segmentation",)
    assert models.builder("bag_of_words").tasks == ("text", "tagging")
    assert models.builder("resnet8").tasks == ("image_classification",)


def test_dense_outputs_are_built_from_the_datas_dimensions(segmenter):
    model = models.build("per_pixel", input_shape=(16, 12, 1), classes=5, filters=2)
    assert model.output["logits"].shape == (None, 16, 12, 5)
    assert models.named_outputs(model) == model.output and list(models.named_inputs(model)) == ["image"]
    more_than_it_takes = {"input_shape": (8, 8, 3), "classes": 2, "lenses": 3}
    assert models.builder("per_pixel").build(more_than_it_takes, {}).count_params() == 122


def test_tokens_are_built_from_the_datas_dimensions(reader):
    model = models.build("bag_of_words", length=5, vocabulary=20, classes=2, units=3)
    assert model.input.shape == (None, 5) and model.count_params() == 20 * 3 + 3 * 2 + 2
    assert list(models.named_outputs(model)) == ["logits"]
    counted = next(models.census.census([models.builder("bag_of_words")]))
    assert (counted.parameters, counted.multiply_adds) == (100 * 8 + 8 * 3 + 3, 8 * 3)


def test_a_dimension_that_is_missing_is_named(reader):
    with pytest.raises(ValueError, match="is built from length, vocabulary, classes; vocabulary is not given"):
        models.build("bag_of_words", length=5, classes=2)


def test_tasks_are_known_without_tensorflow():
    code = "import sys, models; assert models.builder('resnet8').tasks; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_auxiliary_heads_have_names_and_do_not_ship():
    model = models.build("googlenet", input_shape=(32, 32, 3), classes=7, width=0.1)
    assert set(model.output) == {"logits", "auxiliary_1", "auxiliary_2"}
    shipped = models.cut(model, ["logits"])
    assert shipped.output.shape == (None, 7) and shipped.output._keras_history.operation.name == "logits"
    assert models.cut(shipped, ["logits"]) is shipped
    assert shipped.get_layer("logits") is model.get_layer("logits")
    assert not any("auxiliary" in layer.name for layer in shipped.layers)


def test_several_outputs_ship_as_a_dict():
    model = models.build("googlenet", input_shape=(32, 32, 3), classes=7, width=0.1)
    assert set(models.cut(model, ["logits", "auxiliary_2"]).output) == {"logits", "auxiliary_2"}
    assert models.cut(model, ["auxiliary_1", "auxiliary_2", "logits"]) is model


def test_an_output_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="resnet8 has no output boxes; it has logits"):
        models.cut(models.build("resnet8", input_shape=(32, 32, 3), classes=7), ["boxes"])


def test_a_list_of_outputs_is_called_after_its_layers():
    inputs = keras.Input((4,), name="row")
    dense = keras.layers.Dense(2, name="mean")
    model = keras.Model(inputs, [dense(inputs), keras.layers.Dense(2, name="deviation")(inputs)])
    assert list(models.named_outputs(model)) == ["mean", "deviation"]
    with pytest.raises(ValueError, match="two outputs of the model are called mean: give them as a dict"):
        models.named_outputs(keras.Model(inputs, [dense(inputs), dense(inputs)]))
