# Tidegate: `make demo` shows the main job, `make test` runs every test, `make check` what a change must pass.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO ?= cargo
target := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help
help: ## list these targets
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 21

.PHONY: setup
setup: ## install what is missing, fetch the engine and the test data
	@scripts/setup

.PHONY: demo
demo: setup ## run the main job on real events, with an own Kafka and ClickHouse
	@source scripts/environment && $(CARGO) build --release --locked --package tidegate
	@$(target)/release/tidegate demo

.PHONY: test
test: setup ## run every test
	@# Most tests wait for engines more than they compute.
	@source scripts/environment && RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$((2 * $$(nproc)))} $(CARGO) test --workspace --locked

.PHONY: fuzz
fuzz: setup ## mutate schemas of three languages and records of three formats for SECONDS=60 each by SEED=...
	@source scripts/environment && export TIDEGATE_FUZZ_SECONDS='$(or $(SECONDS),60)' TIDEGATE_FUZZ_SEED="$(or $(SEED),$$RANDOM$$RANDOM)" && \
		echo "TIDEGATE_FUZZ_SEED=$$TIDEGATE_FUZZ_SEED" && \
		$(CARGO) test --locked --package tidegate-languages --package tidegate-codec --test mutations -- --nocapture

.PHONY: faults
faults: setup ## break real brokers, servers and sinks for MINUTES=5 by SEED=..., then account for every record
	@scripts/fetch-apache-kafka
	@[ -n '$(BUILT)' ] || { source scripts/environment && $(CARGO) build --locked --package tidegate --package tidegate-faults; }
	@$(target)/debug/tidegate-faults --folder $(target)/faults

.PHONY: faults-cluster
faults-cluster: setup ## the same with two replicated nodes of ClickHouse 18.16: SERVERS=balanced (HAProxy) or replicas
	@scripts/fetch-apache-kafka
	@scripts/install-clickhouse-cluster
	@[ -n '$(BUILT)' ] || { source scripts/environment && $(CARGO) build --locked --package tidegate --package tidegate-faults; }
	@$(target)/debug/tidegate-faults --folder $(target)/faults --servers $(or $(SERVERS),balanced) --layout together

.PHONY: test-clients
test-clients: setup ## run the clients of five languages against broker and registry (fetches them)
	@source scripts/environment && scripts/fetch-clients
	@source scripts/environment && $(CARGO) build --locked --package tidegate
	@source scripts/environment && $(CARGO) build --locked --package tidegate-broker --example serve
	@source scripts/environment && tests/clients/run

.PHONY: check
check: setup ## formatting, lints, house style, licences, unused dependencies, documentation
	@source scripts/environment && $(CARGO) fmt --all --check
	@source scripts/environment && $(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@source scripts/environment && $(CARGO) run --quiet --locked --package xtask -- tidy
	@source scripts/environment && RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked --quiet
	@source scripts/environment && scripts/cargo-tool cargo-deny 0.20.2 && $(CARGO) deny --log-level error check licenses bans sources
	@source scripts/environment && scripts/cargo-tool cargo-machete 0.9.2 && $(CARGO) machete

.PHONY: bench
bench: setup ## measure decoding, the whole path beside its limits, many partitions, the single machine
	@scripts/fetch-apache-kafka || echo 'without Apache Kafka' >&2
	@source scripts/environment && $(CARGO) bench --locked --package tidegate-bench --bench decode
	@source scripts/environment && $(CARGO) bench --locked --package tidegate-codec --bench avro --bench protobuf
	@source scripts/environment && $(CARGO) run --release --locked --package tidegate-bench
	@source scripts/environment && $(CARGO) build --release --locked --package tidegate
	@source scripts/environment && $(CARGO) run --release --locked --package tidegate-bench --bin single-machine
	@source scripts/environment && if [ -f "$${TIDEGATE_CACHE:-.cache}/apache-kafka/.made-from" ]; then \
		$(CARGO) run --release --locked --package tidegate-bench --bin delivery -- path; \
		CORES=apart $(CARGO) run --release --locked --package tidegate-bench --bin delivery -- path; \
		$(CARGO) run --release --locked --package tidegate-bench --bin delivery -- many; fi

.PHONY: soak
soak: setup ## a steady stream for MINUTES (30): do memory, file descriptors and lag stay flat
	@scripts/fetch-apache-kafka
	@source scripts/environment && $(CARGO) build --release --locked --package tidegate
	@source scripts/environment && $(CARGO) run --release --locked --package tidegate-bench --bin delivery -- soak

.PHONY: clean
clean: ## remove what was built; the fetched engine stays
	@source scripts/environment && $(CARGO) clean
