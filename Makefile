# `make` lists the commands. Each sets up .venv by itself the first time, and again when the requirements changed.

PY := .venv/bin/python

# For the recipes that need it: a Python that the packages have wheels for. Name another: make run PYTHON=…
PYTHON =
PYTHONS = $(if $(PYTHON),"$(PYTHON)",python3.11 python3.12 python3.13 python3 python)
SUITABLE = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

export TF_CPP_MIN_LOG_LEVEL = 3
export PYDEVD_DISABLE_FILE_VALIDATION = 1
export JUPYTER_PREFER_ENV_PATH = 1
# pip does not compile what it installs (a minute, mostly for modules that nobody uses): Python does, at first use.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help run lab app compare test test-slow test-browser test-apps bench bench-database export-network lfw steps evaluate groups quality siamese triplets need-dir pins clean FORCE

help:
	@echo 'make run          run the first notebook: who is at the camera? Leaves it as a page in build/'
	@echo '                  (NOTEBOOK=train_siamese.ipynb, train_facenet.ipynb or evaluate.ipynb: another one)'
	@echo 'make lab          open the notebooks in JupyterLab'
	@echo 'make app          the Streamlit app: verify, recognise, a database of people, live → http://localhost:8501'
	@echo 'make compare      the Flask app: two pictures, one answer, nothing kept → http://localhost:8000'
	@echo 'make test         every test, with the notebooks (minutes); ARGS="-k triplet" picks some'
	@echo 'make test-slow    the tests that take long: killed processes, thousands of damaged pictures'
	@echo 'make test-browser the camera in a real JupyterLab and Chromium, and its window (needs Chromium and, for it, Xvfb)'
	@echo 'make test-apps    both web apps in a real Chromium, under load, with hostile uploads and kills (twelve minutes)'
	@echo 'make bench        time the networks and the database here, beside other ways → docs/results/bench.json, database.json'
	@echo 'make bench-database  search among a thousand, 100,000 and a million people, beside other ways (a quarter of an hour, 3 GB) → docs/results/'
	@echo 'make export-network  write a network for phones (LiteRT, ONNX) → build/export/; DIR=… adds its accuracy on LFW'
	@echo 'make lfw DIR=…    score a network on the LFW pictures in DIR → docs/results/; NETWORK=… picks it (a folder, or pixels)'
	@echo 'make steps DIR=…  what each step from a photo to an encoding gains, on LFW training people (half an hour) → docs/results/'
	@echo 'make evaluate DIR=…  strangers, probabilities, damage: what the fourth notebook quotes of LFW → docs/results/; NETWORK=…'
	@echo 'make groups DIR=… false accepts between groups of people, on pictures named <age>_<sex>_<race>_… → docs/results/'
	@echo 'make quality DIR=… LFW=…  does face_quality foretell failure? → docs/results/'
	@echo 'make siamese DIR=…  train and score the twins on real people (hours; goes on where it was stopped) → docs/results/'
	@echo 'make triplets DIR=… train and score the embeddings of the third notebook, likewise (an hour or two) → docs/results/'
	@echo '                  (both: PRECISION=mixed_bfloat16 is quicker where the processor can multiply such numbers)'
	@echo 'make pins         ask the package index whether every pin has wheels for Python 3.11, 3.12 and 3.13'
	@echo 'make clean        remove .venv and everything else that these commands made, except docs/results/ and datasets/'

run: .venv/.course
	@$(PY) tools/run_notebook.py $(or $(NOTEBOOK),Face_Recognition.ipynb)

lab: .venv/.course
	@$(PY) -m jupyterlab Face_Recognition.ipynb

app: .venv/.apps
	@$(PY) -m streamlit run apps/streamlit/app.py $(ARGS)

compare: .venv/.apps
	@$(PY) -m apps.flask $(ARGS)

test: .venv/.dev
	@$(PY) -m pytest $(ARGS)

test-slow: .venv/.dev
	@$(PY) -m pytest -m slow tests $(ARGS)

test-browser: .venv/.dev
	@$(PY) -m pytest -m browser tests $(ARGS)

test-apps: .venv/.dev
	@$(PY) -m pytest -m apps tests $(ARGS)

bench: .venv/.dev
	@$(PY) tools/measure/bench.py $(ARGS)
	@$(if $(ARGS),,$(PY) tools/measure/bench_database.py)
	@$(if $(ARGS),,$(PY) tools/measure/bench_index.py)
	@$(PY) tools/upkeep/readme_results.py

bench-database: .venv/.dev
	@$(PY) tools/measure/bench_database.py $(ARGS)
	@$(if $(ARGS),,$(PY) tools/measure/bench_index.py)
	@$(PY) tools/upkeep/readme_results.py

export-network: .venv/.dev
	@$(PY) tools/assets/export.py $(if $(NETWORK),"$(NETWORK)") $(if $(DIR),--lfw "$(DIR)")
	@$(PY) tools/upkeep/readme_results.py

siamese: need-dir .venv/.course
	@for study in celeba_people att_faces; do \
	    $(PY) tools/assets/prepare_people.py preprocess "$(DIR)/$$study" --to datasets/$$study || exit 1; \
	done
	@for study in celeba_people att_faces people; do \
	    for variant in compact 'large windows' 'small windows'; do \
	        $(PY) tools/assets/train_siamese.py train $$study "$$variant" $(if $(PRECISION),--precision $(PRECISION)) || exit 1; \
	    done; \
	    $(PY) tools/assets/train_siamese.py score $$study || exit 1; \
	done
	@$(PY) tools/assets/train_siamese.py ship celeba_people
	@$(PY) tools/assets/train_siamese.py one-person
	@$(PY) tools/upkeep/readme_results.py

triplets: need-dir .venv/.course
	@$(PY) tools/assets/prepare_people.py preprocess "$(DIR)/celeba_people" --to datasets/celeba_people
	@$(PY) tools/assets/prepare_people.py preprocess "$(DIR)/att_faces" --to datasets/att_faces
	@$(PY) tools/assets/train_triplets.py train all $(if $(PRECISION),--precision $(PRECISION))
	@$(PY) tools/assets/train_triplets.py score
	@$(PY) tools/assets/train_triplets.py ship
	@$(PY) tools/assets/train_triplets.py fine-tune
	@$(PY) tools/upkeep/readme_results.py

lfw: need-dir .venv/.course
	@$(PY) tools/measure/lfw.py "$(DIR)" $(if $(NETWORK),--network "$(NETWORK)")
	@$(PY) tools/upkeep/readme_results.py

steps: need-dir .venv/.course
	@$(PY) tools/measure/steps.py "$(DIR)"
	@$(PY) tools/upkeep/readme_results.py

evaluate: need-dir .venv/.course
	@$(PY) tools/measure/evaluate.py lfw "$(DIR)" $(if $(NETWORK),--network "$(NETWORK)")
	@$(if $(NETWORK),,$(PY) tools/measure/evaluate.py damage "$(DIR)")
	@$(PY) tools/upkeep/readme_results.py

groups: need-dir .venv/.course
	@$(PY) tools/measure/evaluate.py groups "$(DIR)"
	@$(PY) tools/upkeep/readme_results.py

quality: need-dir .venv/.course
	@test -n "$(LFW)" || { echo 'LFW=… is missing: the folder with the pictures and lists of LFW; DIR=… holds a folder per person'; exit 1; }
	@$(PY) tools/measure/quality.py score "$(DIR)" --lfw "$(LFW)"
	@$(PY) tools/upkeep/readme_results.py

need-dir:
	@test -n "$(DIR)" || { echo 'DIR=… is missing: which folder holds the pictures? datasets/README.md says what lies in it'; exit 1; }

pins: .venv/.dev
	@$(PY) tools/upkeep/check_pins.py

clean:
	rm -rf .venv build .pytest_cache .ruff_cache .ipynb_checkpoints
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ------------------------------------------------------------------------------------------------ the set-up
# The files .python, .course, .apps and .dev in .venv say when each step was last done.

.venv/.course: requirements.txt .venv/.python
	@echo 'installing the packages of requirements.txt into .venv (a minute or two) …'
	@$(PY) -m pip install -qq --no-compile --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/.apps: requirements-apps.txt .venv/.course
	@echo 'installing the packages of requirements-apps.txt into .venv …'
	@$(PY) -m pip install -qq --no-compile --disable-pip-version-check -r requirements-apps.txt
	@touch $@

.venv/.dev: requirements-dev.txt .venv/.apps
	@echo 'installing the packages of requirements-dev.txt into .venv (about a minute) …'
	@$(PY) -m pip install -qq --no-compile --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.venv/.python:
	@set -e; \
	if $(PY) -c '$(SUITABLE)' 2>/dev/null && $(PY) -m pip --version >/dev/null 2>&1; then touch $@; exit 0; fi; \
	chosen=; \
	for python in $(PYTHONS); do \
	    if "$$python" -c '$(SUITABLE)' 2>/dev/null; then chosen=$$python; break; fi; \
	done; \
	if [ -z "$$chosen" ]; then \
	    echo "this course needs Python 3.11, 3.12 or 3.13; looked for:" $(PYTHONS); \
	    echo "install one, or say where it is: make run PYTHON=/path/to/python3.11"; \
	    exit 1; \
	fi; \
	echo "making .venv with $$("$$chosen" --version) …"; \
	rm -rf .venv; \
	"$$chosen" -m venv .venv; \
	touch $@

# A .venv whose Python is gone (an upgrade of the system took it away) is made anew.
ifneq ($(shell test -x $(PY) && echo there),there)
.venv/.python: FORCE
endif
FORCE:
