# shellcheck shell=bash
# What the launchers share; sourced by them, never run. Works on bash 3.2 (macOS) too.
#
# A launcher sets LAUNCHER (its name for messages), LAUNCHER_OPTIONS (its own options,
# each of which takes a value) and defines usage(). parse_arguments then sets CONFIG,
# WORKDIR, OVERRIDES, DRY_RUN and, for an option --some_name, OPTION_some_name.

CONFIG=""
WORKDIR=""
OVERRIDES=()
DRY_RUN=0

fail() {
  printf '%s: %s\n' "$LAUNCHER" "$*" >&2
  exit 2
}

# Prints the arguments as one line that a shell reads back as the same arguments.
quoted() {
  local argument line="" quote="'" escaped="'\\''"
  for argument in "$@"; do
    if [[ ! $argument =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]]; then
      argument="'${argument//$quote/$escaped}'"
    fi
    line+="${line:+ }$argument"
  done
  printf '%s\n' "$line"
}

# The command that every launcher ends in; $1 is the nas-jax to call.
set_run_command() {
  RUN_COMMAND=("$1" run "--config=$CONFIG" "--workdir=$WORKDIR")
  RUN_COMMAND+=(${OVERRIDES[@]+"${OVERRIDES[@]}"})
}

parse_arguments() {
  local argument name value
  while (($#)); do
    argument=$1
    name=${argument%%=*}
    shift
    case $argument in
      -h | --help)
        usage
        exit 0
        ;;
      --dry_run)
        DRY_RUN=1
        continue
        ;;
    esac
    if [[ " --config --workdir $LAUNCHER_OPTIONS " != *" $name "* ]]; then
      # What comes after the config is for nas-jax run, which checks it itself.
      [[ -n $CONFIG ]] || fail "unknown argument '$argument' before --config;" \
        "the options are --config --workdir --dry_run --help $LAUNCHER_OPTIONS"
      OVERRIDES+=("$argument")
      continue
    fi
    if [[ $argument == *=* ]]; then
      value=${argument#*=}
    else
      value=${1-}
      shift || true
    fi
    [[ -n $value ]] || fail "$name needs a value, as in $name=VALUE"
    case $name in
      --config)
        [[ -z $CONFIG ]] || fail "--config is given twice: '$CONFIG' and '$value'"
        CONFIG=$value
        ;;
      --workdir) WORKDIR=$value ;;
      *) printf -v "OPTION_${name#--}" '%s' "$value" ;;
    esac
  done
  [[ -n $CONFIG ]] || fail "--config is missing, as in --config=configs/NAME.py"
  [[ -n $WORKDIR ]] || fail "--workdir is missing, as in --workdir=runs/NAME"
}

# Sets NAS_JAX from --venv, or else to what is on PATH; a dry run need not find it.
find_nas_jax() {
  NAS_JAX=${OPTION_venv:+$OPTION_venv/bin/}nas-jax
  ((DRY_RUN)) || command -v "$NAS_JAX" >/dev/null || fail "there is no '$NAS_JAX';" \
    "run 'pip install -e .' in an active environment, or name one by --venv=DIR"
}
