# Every task of the project; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

.PHONY: help check test bench demo crds fmt tools
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tools: ## install what building and testing need (Debian packages; as root)
	@.ci/install

fmt: ## format the code
	cargo fmt

check: ## formatting and lints
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

test: tools check ## all tests (as root: they make network namespaces)
	cargo build --release
	cargo test

bench: ## figures of every area beside their baselines (benches/results); BENCH=toolbox for one area
	cargo bench $(if $(BENCH),--bench $(BENCH))
