#!/bin/sh
# Compile a registry with the referrers API from Debian's sources of go-containerregistry.
#
#   tests/referrers_registry.sh DIR     DIR/referrers-registry: nothing is done where it is there
#
# Go comes from Debian unstable, unpacked beside it and removed again: 48 MB to fetch, a minute of two
# cores, half a gigabyte for as long as it takes.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
go=1.27

exec 9>"$dir/lock"
flock 9
[ -x "$dir/referrers-registry" ] && exit 0
work=$dir/go
trap 'rm -rf "$work"' EXIT
"$here/debian_unpack.sh" sid "$work" \
  "golang-$go-go" "golang-$go-src" golang-github-google-go-containerregistry-dev
GOROOT=$work/usr/lib/go-$go GOPATH=$work/usr/share/gocode GOCACHE=$work/cache GO111MODULE=off \
  GOFLAGS='' GOTOOLCHAIN=local CGO_ENABLED=0 \
  "$work/usr/lib/go-$go/bin/go" build -o "$dir/referrers-registry" \
  "$here/servers/referrers/main.go"
