#!/bin/sh
# Bring one program out of Debian's archive, of any suite.
#
#   tests/debian_tool.sh SUITE PACKAGE[=VERSION] DIR [PROGRAM]
#
# It is DIR/PROGRAM, whose name is the package's if not said: nothing is done where it is there.
# VERSION may be a pattern: another one is an error, not a surprise.
set -eu

suite=$1 wanted=$2 program=${4:-${2%%=*}}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$3"
dir=$(cd "$3" && pwd)

exec 9>"$dir/lock" # several tests may want the same program at once
flock 9
[ -x "$dir/$program" ] && exit 0
trap 'rm -rf "$dir/unpacked"' EXIT
"$here/debian_unpack.sh" "$suite" "$dir/unpacked" "$wanted"
mv "$dir/unpacked/usr/bin/$program" "$dir/$program"
