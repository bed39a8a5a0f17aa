# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
# Each target does its own set-up, and keeps it in a cache for the next time (CONTRIBUTING.md).
.DEFAULT_GOAL := help
.PHONY: help demo demo-hypervisors bench-configure bench-downtime bench-preflight bench-plan test test-fast lint docs build lab-up lab-down clean distclean

SCENARIO ?=

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 20

demo:  ## start a cloud, drain a host of it, stop it again (KEEP=1 leaves it up)
	@.ci/demo

demo-hypervisors:  ## the same on hosts of real libvirt and QEMU, with what its guests felt (root)
	@.ci/demo-hypervisors

bench-downtime:  ## drain such a host four ways, and compare what its guests felt (root, by hand)
	@.ci/bench-hypervisors downtime $(ARGS)

bench-configure:  ## drain such a host before and after migration_configure (root, by hand)
	@.ci/bench-hypervisors configure $(ARGS)

bench-plan:  ## time the plans of a fleet and of one host, from 10 to 1,000 hosts
	@.ci/bench plan $(ARGS)

bench-preflight:  ## ask the pre-flight, then Nova, about the moves of 200 populations
	@.ci/bench-preflight $(ARGS)

test:  ## everything that must pass (PARTS="unit lint" runs only these)
	@.ci/test $(PARTS)

test-fast:  ## ruff and the unit tests, in less than a minute
	@.ci/test --fast

lint:  ## ruff, yamllint, ansible-lint, changelog, spelling
	@.ci/test lint

docs:  ## check the documentation, write the reference in dist/reference/
	@.ci/docs

build:  ## the collection's tarball, in dist/
	@.ci/build

lab-up:  ## start a lab (SCENARIO=file.yml for another than the default)
	@lab/lab up $(if $(SCENARIO),--scenario $(SCENARIO))

lab-down:  ## stop the lab
	@lab/lab down

clean:  ## remove what was built in and for this clone
	@.ci/clean

distclean:  ## and the cache that all clones share
	@.ci/clean --cache
