# For people. meson and ninja do the work; this names what there is to do.
# BUILD=folder: where to build.
BUILD ?= build
MESON_OPTIONS ?=

.PHONY: help setup setup-bench setup-desktop build demo test bench lab fuzz format install clean
.DEFAULT_GOAL := build

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 24

setup: ## install the Debian packages that everything needs
	@tools/setup

setup-bench: ## install also what measurements compare with
	@tools/setup --bench

setup-desktop: ## install also virt-manager, for its tests (tests/run desktop)
	@tools/setup --desktop

$(BUILD)/build.ninja:
	@meson setup $(MESON_OPTIONS) $(BUILD) >$(BUILD)-setup.log 2>&1 || { cat $(BUILD)-setup.log; rm -f $(BUILD)-setup.log; exit 1; }
	@mv $(BUILD)-setup.log $(BUILD)/setup.log

build: setup ## build the programs into build/
	@$(MAKE) -s $(BUILD)/build.ninja
	@ninja -C $(BUILD) $(if $(MAKE_TERMOUT),,--quiet)

demo: setup ## boot a stock Debian kernel through kvasird and show it
	@tools/demo --fetch & fetch=$$!; \
	$(MAKE) --no-print-directory build || { kill $$fetch; exit 1; }; \
	wait $$fetch && BUILD=$(BUILD) tools/demo

test: setup ## everything that is checked before a change goes in
	@tests/run

bench: build setup-bench ## measure against what the distribution has
	@ninja -C $(BUILD) $(if $(MAKE_TERMOUT),,--quiet) bench-programs
	@bench/run --build $(BUILD)

lab: setup ## a shell as root in an emulated host with /dev/kvm
	@lab/lab

fuzz: setup ## run the fuzz targets (SECONDS=60 each)
	@tests/fuzz/run --seconds $(or $(SECONDS),60)

format: ## lay out the C files as .clang-format says
	@tools/check-format --fix

install: build ## install programs and manual pages (PREFIX, DESTDIR)
	@meson configure $(BUILD) $(if $(PREFIX),--prefix $(PREFIX))
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --quiet

clean: ## remove everything that was built
	rm -rf $(BUILD) build-clang build-asan build-hostile
