# `make` lists the targets. Everything does its own set-up and works as root and as a user who may use sudo.

# A fresh rustup installation is found even in a shell that has not read ~/.cargo/env.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/sbin:/usr/sbin:/sbin

TARGET  := $(or $(CARGO_TARGET_DIR),target)
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo)
# Cargo builds as the user; only the finished test programs, which make namespaces, run as root.
AS_ROOT := $(if $(SUDO),--config 'target."cfg(all())".runner="sudo -E"')

# What the build links with, and what the lab and the tests run.
PACKAGES := gcc libc6-dev iproute2 iputils-ping tcpdump ethtool util-linux curl iperf3 perl qemu-system-x86 busybox-static \
    mmdebstrap e2fsprogs libvirt-clients tmux zsh fish man-db mandoc python3-prometheus-client debhelper lintian systemd systemd-container faketime \
    nfdump pmacct tshark

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench soak build deb setup

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

demo: build ## build weft and run the promiscuous-mode scenario on real interfaces
	@$(SUDO) $(TARGET)/release/weft lab demo

# The system tests run the binary that stands beside them, so it is built first.
test: lint ## formatting, lints, then every unit, documentation and system test
	cargo build --locked -p weft-cli
	cargo test --workspace --locked $(AS_ROOT)

lint: setup ## formatting and clippy, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

bench: setup ## the criterion benches
	cargo bench --workspace --locked $(AS_ROOT)

# Tests that can go on for longer take their number of rounds from WEFT_SOAK, 1 by default.
soak: setup ## the same tests for an hour: kill loops and random frames, WEFT_SOAK times as many rounds
	cargo build --locked -p weft-cli
	WEFT_SOAK=$${WEFT_SOAK:-50} cargo test --workspace --locked $(AS_ROOT)

build: setup ## the release binary, target/release/weft
	cargo build --release --locked -p weft-cli

deb: build ## the Debian package, target/weft_VERSION_ARCHITECTURE.deb
	packaging/build-deb $(TARGET)/release/weft $(TARGET)

setup: ## install the Debian packages that are missing
	@command -v cargo >/dev/null || { echo "error: cargo is not installed" >&2; \
	    echo "  hint: install Rust from https://rustup.rs" >&2; exit 1; }
	@missing=; for package in $(PACKAGES); do \
	    dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	    echo "installing the Debian packages that are missing:$$missing"; \
	    $(SUDO) apt-get update -qq && \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	fi
