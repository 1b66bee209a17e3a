# litepress. `make` alone lists the targets.
RECIPE ?= recipes/vision/digits.yaml
ARGS ?=
WORKERS ?= 2
SHARD ?= 1/1
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3 python; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo "$$name" && break; done)
BIN := .venv/bin
UV := 0.13.9
# What uv installs is compiled when it is first imported. Where that is not kept, each process compiles TensorFlow anew: 7 s.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run recipes-vision recipes-where recipes-sequences recipes-transformers recipes-generative test test-all targets torch lint ui data-speech data-text data-series bench bench-compression bench-targets bench-serving bench-generation bench-generative soak lock notebook schema clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20
	@echo
	@echo "RECIPE=file picks another recipe for run, ARGS='--set train.epochs=3' adds to its command line."

setup: .venv/.ready ## make .venv from the pinned requirements

run: .venv/.ready ## run RECIPE (digits by default) from data to verified models
	@$(BIN)/litepress run $(RECIPE) $(ARGS)

recipes-vision: .venv/.ready ## run every recipe of recipes/vision and print one table (two hours)
	@$(BIN)/python benchmarks/recipes.py recipes/vision

recipes-where: .venv/.ready ## run the recipes that find things, mark pixels and tell faces, and print one table (two hours)
	@$(BIN)/python benchmarks/recipes.py recipes/detection/digits_in_scenes.yaml recipes/detection/ssd.yaml \
		recipes/detection/faster_rcnn.yaml recipes/detection/nuclei.yaml recipes/medical/nuclei.yaml \
		recipes/medical/nuclei_instances.yaml recipes/medical/brain.yaml recipes/medical/brain_deeplabv3plus.yaml \
		recipes/faces/faces.yaml recipes/faces/face_detector.yaml $(ARGS)

recipes-sequences: .venv/.ready ## run the recipes of texts, time series and speech that have their data, and print one table (an hour)
	@$(BIN)/python benchmarks/recipes.py recipes/text recipes/series recipes/speech $(ARGS)

recipes-transformers: .venv/.targets ## train, press and verify the Transformers and print one table (an hour and a half)
	@$(BIN)/python benchmarks/recipes.py recipes/language translate_transformer vit --variants float16 int8 dynamic $(ARGS)

recipes-generative: .venv/.ready ## train, press and verify what makes pictures and print one table (two hours)
	@$(BIN)/python benchmarks/recipes.py recipes/generative --variants float16 int8 dynamic $(ARGS)

test: .venv/.targets ## the tests, but for those that take long
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-all: .venv/.targets .venv/.mediapipe ## all tests, the long ones too; SHARD=1/6 for the first sixth of them
	@case "$(SHARD)" in [1-9]*/[1-9]*) ;; *) echo "SHARD=$(SHARD): give the part and the number of parts, for instance 1/6" >&2; exit 2;; esac
	@$(BIN)/python -m pytest -m '' --splits $(lastword $(subst /, ,$(SHARD))) --group $(firstword $(subst /, ,$(SHARD))) $(ARGS)

targets: .venv/.targets ## install the tools of all targets that install here: ONNX, OpenVINO, Core ML, Ethos-U, microcontrollers

torch: .venv/.torch ## install PyTorch into an environment of its own, .venv/torch (6 GB), which `litepress press` of its models asks

lint: .venv/.ready ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/mypy

ui: .venv/.ready ## show the tracked runs in a browser
	@$(BIN)/mlflow ui --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///runs/mlflow.db}" --host 127.0.0.1 --port 5000

data-text: .venv/.ready ## fetch the King James Bible in a Debian package, unpacked without root, and labelled addresses, into data/text
	@$(BIN)/python -m pipelines.tools.text_data data/text

data-speech: .venv/.ready ## fetch voices in Debian packages, unpacked without root, and synthesize words, into data/speech
	@$(BIN)/python -m pipelines.tools.speech_data data/speech

bench: .venv/.ready ## measure what a run must reach (half an hour)
	@$(BIN)/python benchmarks/spine.py

bench-compression: .venv/.ready ## measure compression on every CNN recipe (hours, the first time)
	@$(BIN)/python benchmarks/compression.py $(ARGS)

bench-serving: .venv/.ready ## measure what serving must reach, half an hour of load included (an hour)
	@$(BIN)/python benchmarks/servers.py $(ARGS)

bench-generation: .venv/.ready ## measure how much faster served language models are with what they have read kept
	@$(BIN)/python benchmarks/generation.py $(ARGS)

bench-generative: .venv/.ready ## count StyleGAN2 and Stable Diffusion at the papers' sizes, and take one step of each (8 GB of memory)
	@$(BIN)/python benchmarks/generative.py $(ARGS)

soak: .venv/.ready ## half an hour of load on a server whose model is replaced every ten seconds; ARGS="--seconds 60" for less
	@$(BIN)/python benchmarks/servers.py --only soak $(ARGS)

bench-targets: .venv/.targets .venv/.mediapipe ## measure what every target must reach (hours, the first time)
	@$(BIN)/python benchmarks/targets.py $(ARGS)

lock: .venv/.ready ## pin the newest versions that setup.py allows
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate \
		setup.py --output-file requirements.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate \
		--extra dev --constraint requirements.txt setup.py --output-file requirements-dev.txt

	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate \
		--extra dev --extra ethos-u --extra coreml --extra openvino --extra onnx --extra microcontroller --extra litert-lm --extra gguf --extra jax --extra torch \
		--constraint requirements-dev.txt setup.py --output-file requirements-targets.txt
	@$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate requirements-torch.in \
		--output-file requirements-torch.txt
	@echo mediapipe | $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-header --no-annotate - \
		--output-file requirements-mediapipe.txt

data-series: .venv/.ready ## unpack the labelled series inside the packages aeon and sktime into data/series (15 MB)
	@$(BIN)/uv pip install --quiet --no-deps --upgrade --target data/series/packages aeon==1.6.0 sktime==1.2.0
	@cd data/series && cp -r packages/aeon/datasets/data/*/ packages/sktime/datasets/data/mitdb packages/sktime/datasets/data/yahoo . && \
		(cat KDD-TSAD_135/*_TRAIN.csv; tail -n +2 -q KDD-TSAD_135/*_TEST.csv) > internal_bleeding.csv && rm -r packages

notebook: .venv/.ready ## execute docs/notebook.ipynb and keep in it what it shows (a minute)
	@$(BIN)/python docs/execute.py

schema: .venv/.ready ## write recipe.schema.json
	@$(BIN)/litepress schema > recipe.schema.json

clean: ## remove .venv and what tools leave behind; runs/ stays
	@rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.ready: requirements.txt requirements-dev.txt setup.py
	@if [ -z "$(PYTHON)" ]; then \
		echo "litepress needs Python 3.11 to 3.13, and none is on the PATH. Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 2; fi
	@"$(PYTHON)" -c 'import sys; (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.exit("litepress needs Python 3.11 to 3.13; $(PYTHON) is " + sys.version.split()[0])'
	@printf 'setting up .venv … '; start=$$(date +%s); \
	if ! [ -x $(BIN)/python ]; then "$(PYTHON)" -m venv .venv || exit 2; fi; \
	$(BIN)/python -m pip install -qq --disable-pip-version-check uv==$(UV) && \
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-dev.txt && \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable . && \
	touch $@ && echo "done in $$(( $$(date +%s) - start )) s"

# The tools of the targets, all that install here.
.venv/.targets: .venv/.ready requirements-targets.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-targets.txt && touch $@

# PyTorch pins other versions than TensorFlow, so it has an environment of its own, for a process that is asked.
.venv/.torch: .venv/.ready requirements-torch.txt
	@echo "PyTorch with its CUDA libraries takes 6 GB of .venv/torch"
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .venv/torch && \
		$(BIN)/uv pip install --quiet --python .venv/torch/bin/python -r requirements-torch.txt && touch $@

# MediaPipe wants another absl-py than TensorFlow's model optimization toolkit, so it has a folder of its own, for a test's process alone.
.venv/.mediapipe: .venv/.ready requirements-mediapipe.txt
	@rm -rf .venv/mediapipe && $(BIN)/uv pip install --quiet --python $(BIN)/python --target .venv/mediapipe \
		-r requirements-mediapipe.txt && touch $@
