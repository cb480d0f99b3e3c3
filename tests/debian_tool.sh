#!/bin/sh
# Bring one program out of Debian's archive, of any suite, unpacked and not installed.
#
#   tests/debian_tool.sh SUITE PACKAGE[=VERSION] DIR     DIR/PACKAGE: nothing is done where it is there
#
# VERSION may be a pattern: another one is an error, not a surprise.
set -eu

suite=$1 package=${2%%=*} wanted=$2
mkdir -p "$3"
dir=$(cd "$3" && pwd)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
  echo "$package: $1" >&2
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

exec 9>"$dir/lock" # several tests may want the same program at once
flock 9
[ -x "$dir/$package" ] && exit 0
[ -r "$keyring" ] || fail "needs Debian's keyring: apt-get install debian-archive-keyring"
mirror=$(archive)
if [ -z "$mirror" ]; then
  apt-get -qq update
  mirror=$(archive)
fi
[ -n "$mirror" ] || fail "apt knows no Debian archive; add one to its sources"

apt=$dir/apt
trap 'rm -rf "$apt"' EXIT
rm -rf "$apt"
mkdir -p "$apt/lists/partial" "$apt/archives/partial"
: >"$apt/status"
echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/sources.list"
cd "$apt"
private_apt update
private_apt download "$wanted" || fail "the archive has no $wanted in $suite"
dpkg -x ./"$package"_*.deb root
mv "root/usr/bin/$package" "$dir/$package"
