# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# Where things are. Sourced by every script here, by bash or zsh; env.sh adds the tools to it.
#   LOWTIDE_ROOT   this clone
#   LOWTIDE_CACHE  what clones share, each entry named by the hash of what it is built from
#   LOWTIDE_WORK   what belongs to this clone alone: link tree, copies, logs
# The clone need not lie below ansible_collections/: a tree of one link puts it there.
LOWTIDE_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd -P)
LOWTIDE_CACHE=${LOWTIDE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lowtide}
LOWTIDE_WORK=$LOWTIDE_CACHE/trees/$(printf %s "$LOWTIDE_ROOT" | sha256sum | cut -c1-12)
_lowtide_link=$LOWTIDE_WORK/link/ansible_collections/lowtide/compute
if [ "$(readlink "$_lowtide_link")" != "$LOWTIDE_ROOT" ]; then
    mkdir -p "${_lowtide_link%/*}"
    ln -sfn "$LOWTIDE_ROOT" "$_lowtide_link"
fi
unset _lowtide_link
ANSIBLE_COLLECTIONS_PATH=$LOWTIDE_WORK/link
PYTHONPATH=$LOWTIDE_WORK/link:$LOWTIDE_ROOT
export LOWTIDE_ROOT LOWTIDE_CACHE LOWTIDE_WORK ANSIBLE_COLLECTIONS_PATH PYTHONPATH
