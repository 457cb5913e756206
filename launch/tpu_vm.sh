#!/usr/bin/env bash
# Runs all stages on a Cloud TPU VM, over ssh.
set -euo pipefail

LAUNCHER=tpu_vm.sh
LAUNCHER_OPTIONS="--name --zone --project --repo --branch --python"
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=launch/common.sh
. "$here/common.sh"

usage() {
  cat <<'TEXT'
Usage: launch/tpu_vm.sh --name=VM --zone=ZONE [--project=ID] [--repo=URL]
         [--branch=NAME] [--python=python3] --config=FILE --workdir=DIR [overrides]

Runs `nas-jax run` on an existing TPU VM, with everything after the config handed on.
The first call clones the repository there and installs nas_jax[tpu] into a virtual
environment; later calls fetch the branch and start at once. The same command again
resumes the run.

  --config=FILE   the experiment, as in configs/digits.py, in the VM's checkout
  --workdir=DIR   the folder on the VM that everything is written to
  --name=VM       the TPU VM
  --zone=ZONE     its zone, as in us-west4-a
  --project=ID    its project; default: gcloud's current one
  --repo=URL      what the VM clones; default: the origin of this checkout
  --branch=NAME   the branch, tag or commit to run; default: the default branch
  --python=NAME   the VM's Python, 3.11 or newer; default: python3
  --dry_run       print the command and do nothing
  --help          print this text
  overrides       flags of `nas-jax run`, as in --config.search.epochs=25
TEXT
}

OPTION_name="" OPTION_zone="" OPTION_project="" OPTION_repo=""
OPTION_branch=HEAD OPTION_python=python3
parse_arguments "$@"
[[ -n $OPTION_name ]] || fail "--name is missing: the TPU VM to run on"
[[ -n $OPTION_zone ]] || fail "--zone is missing, as in --zone=us-west4-a"
if [[ -z $OPTION_repo ]]; then
  OPTION_repo=$(git -C "$here" remote get-url origin 2>/dev/null) ||
    fail "this checkout has no origin to clone; name one by --repo=URL"
fi
((DRY_RUN)) || command -v gcloud >/dev/null ||
  fail "there is no gcloud on PATH; install the Google Cloud command line first"

# One line, so that each step runs only if the one before it went well.
set_run_command .venv/bin/nas-jax
REMOTE="{ test -d nas_jax || git clone --quiet $(quoted "$OPTION_repo") nas_jax; }"
REMOTE+=" && cd nas_jax"
REMOTE+=" && git fetch --quiet origin $(quoted "$OPTION_branch")"
REMOTE+=" && git checkout --quiet FETCH_HEAD"
REMOTE+=" && { test -x .venv/bin/nas-jax"
REMOTE+=" || { $(quoted "$OPTION_python") -m venv .venv"
REMOTE+=" && .venv/bin/pip install --quiet -e '.[tpu]'; }; }"
REMOTE+=" && exec $(quoted "${RUN_COMMAND[@]}")"

SSH=(gcloud compute tpus tpu-vm ssh "$OPTION_name" "--zone=$OPTION_zone")
SSH+=(${OPTION_project:+"--project=$OPTION_project"} --worker=all "--command=$REMOTE")

if ((DRY_RUN)); then
  quoted "${SSH[@]}"
  exit 0
fi
exec "${SSH[@]}"
