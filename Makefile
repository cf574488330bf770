# `make demo` and `make test` set everything up by themselves: a virtual environment in .venv, then the package with what it needs.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" UV_COMPILE_BYTECODE=1 $(BIN)/uv pip install --quiet -c constraints.txt

.PHONY: demo test slow lint format clean

.venv/run: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/pip install --quiet uv
	$(INSTALL) -e "."
	touch $@

.venv/dev: .venv/run
	$(INSTALL) -e ".[depth,pose-offline,onnx,distributed,web,posecap,dev]"
	# By themselves: rtmlib's metadata asks for OpenCV with a window system, MediaPipe's for an old NumPy.
	$(INSTALL) --no-deps rtmlib==0.0.16
	# Only CLIP's vocabulary in it is read; its metadata asks for torchvision.
	$(INSTALL) --no-deps clip-anytorch==2.6.0
	$(INSTALL) --no-deps mediapipe==0.10.21 || echo "no MediaPipe for this machine: its tests will be skipped"
	touch $@

demo: .venv/run  ## Name the embedded sample motions by text, with the weights that ship; needs no network once set up.
	$(BIN)/tmor demo

test: .venv/dev  ## The default tests, on two processes.
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2; status=$$?; [ $$status -eq 5 ] && echo "no tests" && exit 0; exit $$status

slow: .venv/dev  ## The tests that take long; also what they alone need.
	$(INSTALL) -e ".[ray]"
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -m slow

lint: .venv/dev  ## Style and types.
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/pyright

format: .venv/dev
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

clean:
	rm -rf .venv
