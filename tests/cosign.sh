#!/bin/sh
# Bring stock cosign 2 (Debian 13) and 3 (Debian unstable) into DIR/trixie and DIR/sid, for the tests
# that show that others accept our evidence.
#
#   tests/cosign.sh [DIR]     DIR: .cosign
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
dir=${1:-$here/.cosign}
"$here/tests/debian_tool.sh" trixie 'cosign=2.*' "$dir/trixie"
"$here/tests/debian_tool.sh" sid 'cosign=3.*' "$dir/sid"
