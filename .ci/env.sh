# Copyright (c) 2026, The Lowtide authors
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=bash
# `source .ci/env.sh`: the development tools on PATH, and this clone as lowtide.compute beside the
# collections that it depends on.
. "$(dirname "${BASH_SOURCE[0]:-$0}")/paths.sh"
if _lowtide_venv=$("$LOWTIDE_ROOT/.ci/venv" dev) &&
    _lowtide_collections=$("$LOWTIDE_ROOT/.ci/collections"); then
    PATH=$_lowtide_venv/bin:$PATH
    ANSIBLE_COLLECTIONS_PATH=$ANSIBLE_COLLECTIONS_PATH:$_lowtide_collections
    export PATH ANSIBLE_COLLECTIONS_PATH
    unset _lowtide_venv _lowtide_collections
else
    unset _lowtide_venv _lowtide_collections
    false
fi
