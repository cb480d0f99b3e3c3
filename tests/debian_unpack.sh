#!/bin/sh
# Bring packages out of Debian's archive, of any suite, unpacked and not installed.
#
#   tests/debian_unpack.sh SUITE DIR PACKAGE[=VERSION]...     their files: DIR/usr/…
#
# VERSION may be a pattern: another one is an error, not a surprise. Nothing that they depend on comes
# along.
set -eu

suite=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
shift 2
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
  echo "$*" >&2
  exit 6
}

# Debian's archive as this machine's apt knows it.
archive() {
  apt-get indextargets --format '$(REPO_URI)' \
    'Identifier: Packages' 'Label: Debian' 'Component: main' | head -n 1
}

# apt with a root of its own, which knows one suite.
private_apt() {
  apt-get -qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$apt/lists" -o Dir::State::Status="$apt/status" \
    -o Dir::Cache="$apt" -o APT::Sandbox::User=root -o APT::Update::Post-Invoke-Success::= \
    -o Acquire::Languages=none "$@"
}

[ -r "$keyring" ] || fail "$*: needs Debian's keyring: apt-get install debian-archive-keyring"
mirror=$(archive)
if [ -z "$mirror" ]; then
  apt-get -qq update
  mirror=$(archive)
fi
[ -n "$mirror" ] || fail "$*: apt knows no Debian archive; add one to its sources"

apt=$dir/.apt
trap 'rm -rf "$apt"' EXIT
rm -rf "$apt"
mkdir -p "$apt/lists/partial" "$apt/archives/partial"
: >"$apt/status"
echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/sources.list"
cd "$apt"
private_apt update
private_apt download "$@" || fail "the archive lacks some of these in $suite: $*"
for package in ./*.deb; do
  dpkg -x "$package" "$dir"
done
