#!/usr/bin/env bash
# Runs all stages on this machine.
set -euo pipefail

LAUNCHER=local.sh
LAUNCHER_OPTIONS="--venv"
# shellcheck source=launch/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() {
  cat <<'TEXT'
Usage: launch/local.sh [--venv=DIR] --config=FILE --workdir=DIR [overrides]

Runs `nas-jax run` on this machine, with everything after the config handed on.
The same command again resumes the run.

  --config=FILE   the experiment, as in configs/digits.py
  --workdir=DIR   the folder that everything is written to
  --venv=DIR      the virtual environment to use; default: nas-jax on PATH
  --dry_run       print the command and do nothing
  --help          print this text
  overrides       flags of `nas-jax run`, as in --config.search.epochs=25
TEXT
}

parse_arguments "$@"
find_nas_jax
set_run_command "$NAS_JAX"

if ((DRY_RUN)); then
  quoted "${RUN_COMMAND[@]}"
  exit 0
fi
exec "${RUN_COMMAND[@]}"
