# caisson's front door.  Meson and Ninja do the building; this file only knows their names and the order of things.
#
#     make            build into build/ (programs in build/bin/)
#     make run        build, make a small image from busybox, run it
#     make help       the other targets

BUILD   ?= build
PREFIX  ?= /usr/local
BUILD_TYPE ?= release
FUZZ_SECONDS ?= 60
RUNTIME ?= $(BUILD)/bin/caisson-oci

.DEFAULT_GOAL := all
.PHONY: all help run test unit bench bench-vm install uninstall lint format fuzz conformance lab deps clean

all: ## build everything (default)
	@tools/deps --check build
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup $(BUILD) --prefix $(PREFIX) --buildtype $(BUILD_TYPE)

run: ## build, then run a container from busybox; ARGS="..." is its command
	@tools/deps build run
	@$(MAKE) --no-print-directory all
	@tools/run-demo $(BUILD) $(ARGS)

test: ## every suite: unit (plain, sanitizers, threads, valgrind), integration, conformance, security, fuzz, lab
	@tools/deps build run test fuzz
	@$(MAKE) --no-print-directory all
	@tools/run-tests --build $(BUILD) $(if $(SUITE),--suite $(SUITE))

unit: ## the unit tests alone
	@$(MAKE) --no-print-directory all
	@tools/run-tests --build $(BUILD) --suite unit

conformance: ## the OCI runtime specification, test by test; RUNTIME=runc checks another runtime
	@tools/deps build run test
	@$(MAKE) --no-print-directory all
	@tools/run-tests --build $(BUILD) --suite conformance --runtime $(RUNTIME)

lab: ## the tests that need cgroup v2, systemd or a user of their own, in a virtual machine; FULL=1 for all conformance
	@tools/deps build run test
	@$(MAKE) --no-print-directory all
	@LAB_FULL=$(FULL) tools/run-tests --build $(BUILD) --suite lab

fuzz: ## fuzz every parser for FUZZ_SECONDS (60) each; TARGET=NAME for one
	@tools/deps build fuzz
	@tools/fuzz --seconds $(FUZZ_SECONDS) $(TARGET)

bench: ## the figures, beside runc and crun on the same machine
	@tools/deps build bench
	@$(MAKE) --no-print-directory all
	@BUILD=$(abspath $(BUILD)) bench/run $(ARGS)

bench-vm: ## the figures of virtual machines, beside QEMU in one boot of the lab
	@tools/deps build run test bench
	@$(MAKE) --no-print-directory all
	@BUILD=$(abspath $(BUILD)) bench/vm $(ARGS)

lint: ## formatting, floors, clang-tidy, cppcheck, shellcheck, man pages
	@tools/deps build lint
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@tools/lint --build $(BUILD) $(STEP)

format: ## let clang-format rewrite the sources
	@tools/deps lint
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i

install: all ## install below PREFIX (/usr/local); DESTDIR is respected
	@meson configure $(BUILD) -Dprefix=$(PREFIX) >/dev/null
	meson install -C $(BUILD) --no-rebuild

uninstall: ## remove what `make install` put in place
	ninja -C $(BUILD) uninstall

deps: ## install everything that any target needs (Debian 12)
	@tools/deps all

clean: ## remove every build directory
	rm -rf $(BUILD) build-asan build-tsan build-fuzz

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
