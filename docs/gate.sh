#!/bin/sh
# Has METHOD drifted from BASE to this checkout? Exit code: 0 equivalent, 1 drifted, 3 not measured.
# usage: docs/gate.sh METHOD BASE OUT [options of `sarbench run`, such as --protocol synthetic --seed 0 --seed 1]
set -u
if [ $# -lt 3 ]; then sed -n 2,3p "$0"; exit 2; fi
method=$1 base=$2 out=$3
shift 3
mkdir -p "$out" || exit 3
out=$(cd "$out" && pwd)
here=$(git rev-parse --show-toplevel) || exit 3
python=${PYTHON:-python}

# The sarbench of a folder, whichever is installed.
sarbench_of() {
    tree=$1
    shift
    mkdir -p "$tree/.gate/sarbench"
    for part in bench methods datasets; do ln -sfn "$tree/$part" "$tree/.gate/sarbench/$part"; done
    "$python" -c '
import sys
sys.meta_path = [f for f in sys.meta_path if not getattr(f, "__module__", "").startswith("__editable__")]
sys.path[:] = [sys.argv.pop(1)] + [p for p in sys.path if not p.startswith("__editable__")]
from sarbench.bench.cli import main
sys.exit(main(sys.argv[1:]))
' "$tree/.gate" "$@"
}

rm -rf "$out/old" "$out/new" "$out/runs"
git worktree add --quiet --force --detach "$out/base" "$base" || exit 3
trap 'git -C "$here" worktree remove --force "$out/base"; rm -rf "$here/.gate"' EXIT

sarbench_of "$out/base" run --method "$method" --runs "$out/runs/old" --leaderboards "$out/old" "$@" || exit 3
if [ -d "$out/base/leaderboards/noise" ]; then cp -r "$out/base/leaderboards/noise" "$out/old/"; fi
sarbench_of "$here" run --method "$method" --runs "$out/runs/new" --leaderboards "$out/new" "$@" || exit 3
sarbench_of "$here" check "$out/new" "$out/old" | tee "$out/gate.txt"
case $(tail -n 1 "$out/gate.txt") in
    equivalent*) exit 0 ;;
    drifted*) exit 1 ;;
    *) exit 3 ;;
esac
