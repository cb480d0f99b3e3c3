#!/bin/sh
# Bring packages out of Debian's archive, of any suite, unpacked and not installed.
#
#   tests/debian_unpack.sh SUITE DIR PACKAGE[=VERSION]...     their files: DIR/usr/…
#
# VERSION may be a pattern: another one is an error, not a surprise. Nothing that they depend on comes
# along.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
suite=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
shift 2
apt=$dir/.apt wanted="$*"

fail() {
  echo "$wanted: $1" >&2
  exit 6
}

. "$here/debian_apt.sh"
trap 'rm -rf "$apt"' EXIT
open_archive
cd "$apt"
know "$suite"
private_apt download "$@" || fail "the archive lacks some of these in $suite"
for package in ./*.deb; do
  dpkg -x "$package" "$dir"
done
