# make demo | demo-pix2pix | demo-digits | bench | bench-digits | test | lint: each sets up .venv first, where that has
# not been done.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python
export NO_ALBUMENTATIONS_UPDATE := 1

.PHONY: demo demo-pix2pix demo-digits bench bench-digits test lint format clean

demo: $(VENV)/ready datasets/shapes/recipe.json
	$(RUN) train.py --options demo_cyclegan --overwrite
	$(RUN) test.py --name demo --dataroot datasets/shapes
	$(RUN) test.py --name demo --dataroot datasets/shapes --direction BtoA
	@echo; echo "plain to textured:"
	@$(RUN) datasets/score.py results/demo/test_latest/images --truth datasets/shapes/truthB --inputs datasets/shapes/testA
	@echo "textured to plain:"
	@$(RUN) datasets/score.py results/demo/test_latest_BtoA/images --truth datasets/shapes/truthA \
		--inputs datasets/shapes/testB --label fake_A
	@echo; echo "pictures: results/demo/test_latest/images"
	@echo "page:     results/demo/test_latest/index.html"
	@echo "training: checkpoints/demo/report.html"

demo-pix2pix: $(VENV)/ready datasets/shapes/recipe.json
	$(RUN) train.py --options demo_pix2pix --overwrite
	$(RUN) test.py --name demo_pix2pix --dataroot datasets/shapes
	@echo; $(RUN) datasets/score.py results/demo_pix2pix/test_latest/images --pairs datasets/shapes/test
	@echo; echo "pictures: results/demo_pix2pix/test_latest/images"
	@echo "page:     results/demo_pix2pix/test_latest/index.html"
	@echo "training: checkpoints/demo_pix2pix/report.html"

demo-digits: $(VENV)/ready datasets/digits/recipe.json
	$(RUN) train.py --options demo_digits --overwrite
	$(RUN) test.py --name demo_digits --labels 0-9 --num_per_class 10
	@echo; echo "digits:   results/demo_digits/test_latest/grid.png"
	@echo "page:     results/demo_digits/test_latest/index.html"
	@echo "training: checkpoints/demo_digits/report.html"

# Meant to take under 20 minutes on two CPU cores, which should have nothing else to do; docs/benchmarks.md says what it prints.
bench: $(VENV)/ready
	@echo "Data"; $(RUN) benchmarks/data.py --seconds 0.6 --count 160
	@echo; echo "Training"; $(RUN) benchmarks/train_step.py --turns 2
	@echo; echo "Translation"; $(RUN) benchmarks/translate.py --turns 1
	@echo; echo "Start-up"; $(RUN) benchmarks/startup.py --turns 2

# Every preset for digits, and three seeds of the best; docs/conditional.md shows what it found.
bench-digits: $(VENV)/ready $(if $(I2I_TEST_DATA),,datasets/mnist/recipe.json)
	$(RUN) benchmarks/digit_presets.py --best_seeds 3

test: $(VENV)/ready
	$(RUN) -m pytest

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

datasets/%/recipe.json: | $(VENV)/ready
	$(RUN) datasets/prepare.py $*

# visdom's build needs an older setuptools than pip takes by itself; one variable is for pip < 25.3, one for later ones.
$(VENV)/ready: setup.cfg pyproject.toml build_constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "i2i needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=build_constraints.txt PIP_BUILD_CONSTRAINT=build_constraints.txt \
		$(BIN)/pip install --quiet --disable-pip-version-check -e '.[data,heif,exr,visdom,tensorboard,wandb,dev]'
	@touch $@

clean:
	rm -rf $(VENV) *.egg-info .pytest_cache .ruff_cache .mypy_cache
