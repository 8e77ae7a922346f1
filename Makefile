# Every task of the project; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# What is built lives in the user's cache, so that a fresh clone finds it; cargo keys it by version itself.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vipkeeper/target

comma := ,

.PHONY: help check test cluster-test faults bench demo crds manifests fmt tools fuzz dist image
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

tools: ## install what building and testing need (Debian packages; as root)
	@.ci/install

fmt: ## format the code
	cargo fmt

check: ## formatting and lints
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

demo: tools ## a VirtualIP at work, in network namespaces on this machine (as root)
	cargo build --bin vipkeeper
	tests/demo/run $(CARGO_TARGET_DIR)/debug/vipkeeper

test: tools check dist ## all tests (as root: they make network namespaces)
	cargo test

faults: tools ## the fault matrix, FAULTS_RUNS (30) times each cell; FAULTS='power lost|nft' for some; hours
	cargo build --release --bin vipkeeper
	FAULTS_BINARY=$(CARGO_TARGET_DIR)/release/vipkeeper cargo test --test faults -- --ignored --nocapture matrix
	tests/faults/report

cluster-test: tools dist ## the chart on a real cluster of three kubelets, on this machine (as root; part of `make test`)
	cargo test --test cluster -- --nocapture

crds: ## write the CRDs of the code into the chart
	cargo build -q
	for plural in $$($(CARGO_TARGET_DIR)/debug/vipkeeper crds | awk '$$1 == "plural:" {print $$2}'); do \
	  $(CARGO_TARGET_DIR)/debug/vipkeeper crds --only $$plural > charts/vipkeeper/crds/vipkeeper.dev_$$plural.yaml; \
	done

manifests: crds ## write manifests/install.yaml from the chart
	HELM=$$(tests/cluster/tools/build helm)/helm charts/render > manifests/install.yaml

bench: ## figures of every area beside their baselines (benches/results); BENCH=toolbox for one area
	cargo bench $(if $(BENCH),--bench $(BENCH))
	$(if $(BENCH),,OUTAGE_SECONDS=60 cargo test --test kubernetes outages -- --nocapture)

fuzz: ## each fuzz target for FUZZ_SECONDS (20), with the nightly compiler; FUZZ=ip for one target
	.ci/fuzz $(or $(FUZZ_SECONDS),20) $(FUZZ)

# The flags are for the last link alone: for procedural macros, which are shared libraries, the first would be wrong. The
# second packs what the loader relocates, a megabyte of it; the others, where lld links, keep one of equal functions and
# leave out what nobody reads (shipped.ld).
lld := --icf=all --no-eh-frame-hdr -T$(CURDIR)/shipped.ld
dist: ## the static binary that is shipped
	cargo rustc --release --bin vipkeeper -- -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs $(if $(filter x86_64,$(shell uname -m)),$(lld:%=-C link-arg=-Wl$(comma)%))

image: dist ## the image, as an OCI archive, from the binary of `make dist`; needs buildah and no registry
	.ci/image $(CARGO_TARGET_DIR)/vipkeeper-image.tar
