# Every task of the project; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# What is built lives in the user's cache, so that a fresh clone finds it; cargo keys it by version itself.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vipkeeper/target

comma := ,

# Architectures by the names that images have. ARCH=arm64 builds for another one than this machine's, with Debian's cross
# compiler; what is built then lies in a folder of its own.
MACHINE := $(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(shell uname -m)))
ARCH ?= $(MACHINE)
TRIPLE := $(patsubst arm64,aarch64,$(patsubst amd64,x86_64,$(ARCH)))-unknown-linux-gnu
FOREIGN := $(filter-out $(MACHINE),$(ARCH))
RELEASE := $(CARGO_TARGET_DIR)/$(if $(FOREIGN),$(TRIPLE)/)release
LLD := $(if $(FOREIGN),,$(filter amd64,$(ARCH)))
CROSS := $(if $(FOREIGN),--target $(TRIPLE) --config 'target.$(TRIPLE).linker="$(subst -unknown,,$(TRIPLE))-gcc"')

.PHONY: help check test built cluster-test faults bench demo crds manifests fmt tools fuzz dist image
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

test: tools ## all tests (as root: they make network namespaces)
	$(MAKE) --no-print-directory -j2 dist built
	cargo test

# Beside `dist`, whose last link keeps one core busy for minutes.
built: check
	cargo test --no-run

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

bench: dist ## figures of every area beside their baselines (benches/results); BENCH=toolbox for one area
	cp $(RELEASE)/vipkeeper $(CARGO_TARGET_DIR)/shipped
	BENCH_BINARY=$(CARGO_TARGET_DIR)/shipped cargo bench $(if $(BENCH),--bench $(BENCH))
	$(if $(BENCH),,OUTAGE_SECONDS=60 cargo test --test kubernetes outages -- --nocapture)

fuzz: ## each fuzz target for FUZZ_SECONDS (20), with the nightly compiler; FUZZ=ip for one target
	.ci/fuzz $(or $(FUZZ_SECONDS),20) $(FUZZ)

# The flags are for the last link alone: for procedural macros, which are shared libraries, the first would be wrong. The
# second packs what the loader relocates, a megabyte of it; the third leaves out the index of the unwinding tables, which
# only the program itself would read (a panic ends it, and debuggers read the tables); the fourth keeps one of equal
# functions, where lld links.
dist: ## the static binary that is shipped; ARCH=arm64 for another architecture than this machine's
	$(if $(FOREIGN),@.ci/install $(ARCH))
	cargo rustc --release --bin vipkeeper $(CROSS) -- -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs -C link-arg=-Wl,--no-eh-frame-hdr $(if $(LLD),-C link-arg=-Wl$(comma)--icf=all)

image: dist ## the image, as an OCI archive, from the binary of `make dist`; needs buildah and no registry
	.ci/image $(RELEASE)/vipkeeper $(ARCH) $(CARGO_TARGET_DIR)/vipkeeper-image$(if $(FOREIGN),-$(ARCH)).tar
