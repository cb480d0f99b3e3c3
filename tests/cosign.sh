#!/bin/sh
# Bring stock cosign 2 (Debian 13) and 3 (Debian unstable) into DIR/trixie and DIR/sid, unpacked and
# not installed, for the tests that show that others accept our evidence.
#
#   tests/cosign.sh [DIR]     DIR: .cosign; nothing is done where both are there
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:-$here/.cosign}"
dir=$(cd "${1:-$here/.cosign}" && pwd)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
  echo "cosign: $1" >&2
  exit 6
}

# Debian's archive as this machine's apt knows it.
archive() {
  apt-get indextargets --format '$(REPO_URI)' \
    'Identifier: Packages' 'Label: Debian' 'Component: main' | head -n 1
}

# apt with a root of its own, which knows one suite: $1 is the suite, the rest goes to apt-get.
private_apt() {
  apt=$dir/apt
  mkdir -p "$apt/lists/partial" "$apt/archives/partial"
  : >"$apt/status"
  echo "deb [signed-by=$keyring] $mirror $1 main" >"$apt/sources.list"
  shift
  apt-get -qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$apt/lists" -o Dir::State::Status="$apt/status" \
    -o Dir::Cache="$apt" -o APT::Sandbox::User=root -o APT::Update::Post-Invoke-Success::= \
    -o Acquire::Languages=none "$@"
}

# $1 is the suite, $2 the version that the tests are about: another one is an error, not a surprise.
bring() {
  rm -rf "$dir/debs"
  mkdir -p "$dir/debs" "$dir/$1"
  cd "$dir/debs"
  private_apt "$1" update
  private_apt "$1" download "cosign=$2" || fail "the archive has no cosign $2 in $1"
  dpkg -x ./cosign_*.deb root
  mv root/usr/bin/cosign "$dir/$1/cosign"
  cd "$dir"
  rm -rf "$dir/debs" "$dir/apt"
}

[ -r "$keyring" ] || fail "needs Debian's keyring: apt-get install debian-archive-keyring"
mirror=$(archive)
if [ -z "$mirror" ]; then
  apt-get -qq update
  mirror=$(archive)
fi
[ -n "$mirror" ] || fail "apt knows no Debian archive; add one to its sources"
[ -x "$dir/trixie/cosign" ] || bring trixie '2.*'
[ -x "$dir/sid/cosign" ] || bring sid '3.*'
