#!/usr/bin/env bash
# Compresses every expert of the large fixtures, reconstructs it, and scores it with the fixtures' own evaluators.
#
#   PYTHON=python3 BASE_SMOLLM2=DIR scripts/evaluate/run.sh FIXTURES_DIR OUT_DIR [option=value ...]
#
# Options are those of compress/options.ts. Without PYTHON (torch, transformers, peft) only the files are made; without
# BASE_SMOLLM2 (made by the fixtures' tools/make_base_smollm2.py) the decoder is left out. Prints one line per expert:
# its name, then what compress-fixture.ts says, then what the evaluator says.
set -eu

fixtures=$1
out=$2
shift 2
here=$(dirname "$0")

make() { # NAME EXPERT [--base DIR] options
  name=$1
  shift
  mkdir -p "$out"
  node "$here/compress-fixture.ts" "$1" "$out/$name" "${@:2}" >"$out/$name.json"
  printf '%s %s\n' "$name" "$(cat "$out/$name.json")"
}

score() { # SCRIPT BASE ARTEFACT arguments
  [ -n "${PYTHON:-}" ] || return 0
  "$PYTHON" "$fixtures/eval/$1" "$2" "$3" "${@:4}" 2>>"$out/evaluator.log"
}

for task in debsection wnnoun moviesent; do
  make "lora-$task" "$fixtures/lora/$task" "$@"
  score eval_minilm.py "$fixtures/base-minilm" "$out/lora-$task" "$fixtures/data/$task/test.jsonl"
done

make full-debsection "$fixtures/full/debsection/partial.safetensors" --base "$fixtures/base-minilm" "$@"
score eval_minilm.py "$fixtures/base-minilm" "$out/full-debsection" "$fixtures/data/debsection/test.jsonl"

make smol-debsection "$fixtures/lora-smollm2/debsection" "$@"
if [ -n "${BASE_SMOLLM2:-}" ]; then
  score eval_smollm.py "$BASE_SMOLLM2" "$out/smol-debsection" "$fixtures/data/debsection/test.jsonl" \
    "$fixtures/data/debsection/labels.json" --limit 240
fi
