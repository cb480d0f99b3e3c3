#!/bin/sh
# Bring one program out of Debian's archive, of any suite.
#
#   tests/debian_tool.sh SUITE PACKAGE[=VERSION] DIR     DIR/PACKAGE: nothing is done where it is there
set -eu

suite=$1 package=${2%%=*} wanted=$2
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$3"
dir=$(cd "$3" && pwd)

exec 9>"$dir/lock" # several tests may want the same program at once
flock 9
[ -x "$dir/$package" ] && exit 0
trap 'rm -rf "$dir/unpacked"' EXIT
"$here/debian_unpack.sh" "$suite" "$dir/unpacked" "$wanted"
mv "$dir/unpacked/usr/bin/$package" "$dir/$package"
