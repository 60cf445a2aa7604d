# `make` lists the commands. Each one sets up .venv by itself, and again when pyproject.toml has changed.

PY := .venv/bin/python
PIP = $(PY) -m pip install -qq --no-compile --disable-pip-version-check
PYTEST = $(PY) -m pytest
RESULTS = $(PY) tools/upkeep/readme_results.py

# The Python that .venv is made of. Choose another with: make run PYTHON=…
PYTHON =
PYTHONS = $(if $(PYTHON),"$(PYTHON)",python3.11 python3.12 python3.13 python3 python)
SUITABLE = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# A Milvus server listens on every address, so it is started where there is no network but loopback.
SERVER = build/milvus-server/.installed
ALONE = unshare --map-root-user --net sh -c 'ip link set lo up && exec "$$0" "$$@"'

NOTEBOOK = Face_Recognition.ipynb
# Three processes keep two cores busy. The tests of a file, and the cells of a notebook, stay together; the slow come first.
IN_PARALLEL = -n 3 --dist loadfile --no-loadscope-reorder

export TF_CPP_MIN_LOG_LEVEL = 3
export PYDEVD_DISABLE_FILE_VALIDATION = 1
export JUPYTER_PREFER_ENV_PATH = 1
# pip does not compile what it installs, which would take a minute; Python compiles each module when it is first used.
export PYTHONDONTWRITEBYTECODE =

.PHONY: help run lab app account compare api book test clean
.PHONY: test-slow test-browser test-apps test-scale bench bench-api bench-database bench-peers bench-scale export-network
.PHONY: lfw steps evaluate groups quality clusters strangers siamese transfer triplets need-dir need-lfw pins pages FORCE

help:
	@awk -F ':.*## ' '/^##@ /{print (NR > 1 ? "\n" : "") substr($$0, 5)} /^[a-z-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2} \
	    /^# +> /{sub(/^# +> /, ""); printf "%23s%s\n", "", $$0}' $(MAKEFILE_LIST)

##@ For readers
run: .venv/.course ## run the first notebook: who is at the door? Leaves it as a page in build/
# > NOTEBOOK=… runs another: train_siamese.ipynb, train_facenet.ipynb, evaluate.ipynb
	@$(PY) tools/run_notebook.py $(NOTEBOOK)

lab: .venv/.course ## open the notebooks in JupyterLab
	@$(PY) -m jupyterlab $(NOTEBOOK)

app: .venv/.apps ## the Streamlit app: verify, recognise, people, live → http://localhost:8501
	@$(PY) -m streamlit run apps/streamlit/app.py $(ARGS)

account: .venv/.apps ## NAME=… make an account for the Streamlit app, or give one a new password
	@$(if $(NAME),,echo 'NAME=… is missing: the name of the account'; exit 1)
	@$(PY) -m apps.streamlit.accounts "$(NAME)"

compare: .venv/.apps ## the Flask app: two pictures, one answer, nothing kept → http://localhost:8000
	@$(PY) -m apps.flask $(ARGS)

api: .venv/.apps ## the people over HTTP, for programs → http://localhost:8600/docs (keys: docs/apps.md)
	@$(PY) -m apps.api $(ARGS)

book: .venv/.book ## the course as a website, with search and dark mode → build/book/index.html
	@$(PY) -m tools.book.build

test: .venv/.dev ## the tests and the notebooks; ARGS="-k triplet" picks some
	@$(PYTEST) $(IN_PARALLEL) $(ARGS)

clean: ## remove .venv and everything else that these commands made, except docs/results/ and datasets/
	rm -rf .venv build .pytest_cache .ruff_cache .hypothesis .ipynb_checkpoints
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

##@ For measuring and upkeep (results go to docs/results/; datasets/README.md says what DIR=… must hold)
bench: .venv/.dev ## time the networks and the database against alternatives
	@$(PY) tools/measure/bench.py $(ARGS)
	@$(if $(ARGS),,$(PY) tools/measure/bench_database.py)
	@$(if $(ARGS),,$(PY) tools/measure/bench_index.py)
	@$(RESULTS)

bench-peers: build/peers/.done ## compare ours with dlib, facenet-pytorch, DeepFace, mtcnn (11 minutes; 1 GB in build/peers)
	@$(PY) tools/measure/bench_peers.py $(ARGS)
	@$(RESULTS)

bench-database: .venv/.dev ## search among a thousand to a million people (15 minutes, 3 GB of memory)
	@$(PY) tools/measure/bench_database.py $(ARGS)
	@$(if $(ARGS),,$(PY) tools/measure/bench_index.py)
	@$(RESULTS)

bench-api: .venv/.dev ## the API among 10,000 people: 50 programs at once, and one alone (two minutes)
	@$(PY) tools/measure/load_api.py $(ARGS)
	@$(if $(ARGS),,$(RESULTS))

bench-scale: .venv/.dev $(SERVER) ## a Milvus server with 100,000 people, and fifty kills (20 minutes, 4 GB)
	@$(ALONE) $(PY) tools/measure/bench_scale.py $(ARGS)
	@$(RESULTS)

lfw: need-dir .venv/.course ## DIR=… score a network on LFW; NETWORK=… is a folder, or pixels
	@$(PY) tools/measure/lfw.py "$(DIR)" $(if $(NETWORK),--network "$(NETWORK)")
	@$(RESULTS)

steps: need-dir .venv/.course ## DIR=… what each step from photo to encoding gains, on LFW (30 minutes)
	@$(PY) tools/measure/steps.py "$(DIR)"
	@$(RESULTS)

evaluate: need-dir .venv/.course ## DIR=… strangers, probabilities and damage, on LFW; NETWORK=…
	@$(PY) tools/measure/evaluate.py lfw "$(DIR)" $(if $(NETWORK),--network "$(NETWORK)")
	@$(if $(NETWORK),,$(PY) tools/measure/evaluate.py damage "$(DIR)")
	@$(RESULTS)

groups: need-dir .venv/.course ## DIR=… false accepts between groups of people, on pictures named as in UTKFace
	@$(PY) tools/measure/evaluate.py groups "$(DIR)"
	@$(RESULTS)

clusters: need-dir .venv/.course ## DIR=… choose the thresholds for groups of unnamed faces and score them, on LFW
	@$(PY) tools/measure/clusters.py "$(DIR)" $(ARGS)
	@$(RESULTS)

strangers: need-dir .venv/.course ## DIR=… check the thresholds for K people: strangers and known people named, on LFW
	@$(PY) tools/measure/strangers.py "$(DIR)" $(ARGS)
	@$(RESULTS)

quality: need-dir need-lfw .venv/.course ## DIR=… LFW=… whether the quality of a photo predicts false rejects
	@$(PY) tools/measure/quality.py score "$(DIR)" --lfw "$(LFW)"
	@$(RESULTS)

siamese: need-dir .venv/.course ## DIR=… train and score the twins (hours; continues where it was stopped)
# > PRECISION=mixed_bfloat16: faster if the processor multiplies such numbers; also for triplets
	@$(PY) tools/assets/train_siamese.py all "$(DIR)" $(if $(PRECISION),--precision $(PRECISION))
	@$(RESULTS)

transfer: need-dir .venv/.course ## DIR=… train and score the transfer twin (minutes)
	@$(PY) tools/assets/train_transfer.py all "$(DIR)"
	@$(RESULTS)

triplets: need-dir .venv/.course ## DIR=… train and score the embeddings (four to six hours; continues where it stopped)
	@$(PY) tools/assets/train_triplets.py all "$(DIR)" $(if $(PRECISION),--precision $(PRECISION))
	@$(RESULTS)

export-network: .venv/.dev ## write a network for phones → build/export/; NETWORK=…; DIR=… adds its accuracy
	@$(PY) tools/assets/export.py $(if $(NETWORK),"$(NETWORK)") $(if $(DIR),--lfw "$(DIR)")
	@$(RESULTS)

pages: .venv/.course ## write the tables of the pages, the drawing of the imports, the first cell, the badges
	@$(RESULTS)
	@$(PY) tools/upkeep/architecture.py
	@$(PY) tools/upkeep/address.py

pins: .venv/.dev ## ask the package index whether every pin has wheels for every Python and platform
	@$(PY) tools/upkeep/check_pins.py

test-slow: .venv/.dev ## the tests that take long: killed processes, thousands of damaged pictures
	@$(PYTEST) -m slow tests $(ARGS)

test-browser: .venv/.dev .venv/.book ## the camera and the website in a real Chromium, and a window (needs Chromium, Xvfb)
	@$(PYTEST) -m browser tests $(ARGS)

test-apps: .venv/.dev ## both web apps in a real Chromium, under load and siege, with hostile uploads (20 minutes)
	@$(PYTEST) -m apps tests $(ARGS)

test-scale: .venv/.dev $(SERVER) ## FaceDatabase on a real Milvus server, with kills and 100,000 people (15 minutes, 4 GB)
	@$(ALONE) $(PYTEST) -m scale tests $(ARGS)

need-dir:
	@$(if $(DIR),,echo 'DIR=… is missing: the folder with the pictures; datasets/README.md says what it must hold'; exit 1)

need-lfw:
	@$(if $(LFW),,echo 'LFW=… is missing: the folder with the pictures and lists of LFW'; exit 1)

# ------------------------------------------------------------------------------------------------ the set-up
# The files .python, .course, .apps, .book and .dev in .venv say when each step was last done.

.venv/.course: pyproject.toml .venv/.python
	@echo 'installing the project and its packages into .venv (a minute or two) …'
	@$(PIP) -e .
	@touch $@

.venv/.apps: pyproject.toml .venv/.course
	@echo 'installing the packages of the apps into .venv …'
	@$(PIP) -e ".[apps]"
	@touch $@

.venv/.book: pyproject.toml .venv/.course
	@echo 'installing the packages of the website into .venv …'
	@$(PIP) -e ".[book]"
	@touch $@

# The server has an environment of its own. Without it the tests that need it are skipped.
$(SERVER): .venv/.python
	@$(PY) -m venv build/milvus-server/.venv
	@build/milvus-server/.venv/bin/python -m pip install -qq --disable-pip-version-check milvus==2.3.5 && touch $@ || true

.venv/.dev: pyproject.toml .venv/.apps
	@echo 'installing the packages of the tests and benchmarks into .venv (about a minute) …'
	@$(PIP) -e ".[dev]"
	@touch $@

# The other engines in an environment of their own, which sees .venv's packages (TensorFlow is 2 GB) and changes none.
PEERS = tools/measure/peers
build/peers/.done: $(PEERS)/requirements.txt $(PEERS)/without_dependencies.txt .venv/.dev
	@echo 'installing the other engines into build/peers (a few minutes) …'
	@$(PY) -m venv build/peers
	@$(PY) -c 'import site; print(site.getsitepackages()[0])' > "$$(build/peers/bin/python -c \
	    'import site; print(site.getsitepackages()[0])')/shared.pth"
	@build/peers/bin/python -m pip install -qq --disable-pip-version-check -r $(PEERS)/requirements.txt
	@build/peers/bin/python -m pip install -qq --disable-pip-version-check --no-deps -r $(PEERS)/without_dependencies.txt
	@touch $@

.venv/.python:
	@set -e; \
	if $(PY) -c '$(SUITABLE)' 2>/dev/null && $(PY) -m pip --version >/dev/null 2>&1; then touch $@; exit 0; fi; \
	for python in $(PYTHONS); do \
	    if "$$python" -c '$(SUITABLE)' 2>/dev/null; then \
	        echo "making .venv with $$("$$python" --version) …"; \
	        rm -rf .venv; "$$python" -m venv .venv; touch $@; exit 0; \
	    fi; \
	done; \
	echo "this course needs Python 3.11, 3.12 or 3.13; looked for:" $(PYTHONS); \
	echo "install one, or say where it is: make run PYTHON=/path/to/python3.11"; \
	exit 1

# A .venv whose Python is gone, for example after an upgrade of the system, is made again.
ifneq ($(shell test -x $(PY) && echo there),there)
.venv/.python: FORCE
endif
FORCE:
