#!/bin/sh
# Build BuildKit's daemon and its client, buildkitd and buildctl, from Debian's sources: Debian ships
# these with docker.io, but not the programs. For the tests of builders that are not Docker's own
# (`make builders`). Takes some minutes, and 2 GB for the while.
#
#   tests/buildkit.sh [DIR]     DIR: .buildkit; nothing is done where DIR/buildkitd is there
#
# Go, BuildKit and what it imports are Debian's packages, unpacked and not installed. Left out is what
# Debian lacks libraries for (caches of GitHub and Azure, fuse-overlayfs), and the cache in S3, whose
# library is larger than all others.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:-$here/.buildkit}"
dir=$(cd "${1:-$here/.buildkit}" && pwd)
apt=$dir/apt root=$dir/root
wanted="golang-go golang-github-docker-docker-dev golang-github-urfave-cli-dev
  golang-github-containerd-go-runc-dev golang-github-containerd-go-cni-dev
  golang-github-containerd-stargz-snapshotter-dev golang-github-containerd-nydus-snapshotter-dev
  golang-github-coreos-bbolt-dev golang-github-gofrs-flock-dev golang-github-pelletier-go-toml-dev
  golang-github-mitchellh-hashstructure-v2-dev golang-github-spdx-tools-golang-dev
  golang-github-pkg-profile-dev golang-github-tonistiigi-vt100-dev golang-github-google-shlex-dev
  golang-google-grpc-dev
  golang-github-grpc-ecosystem-go-grpc-middleware-dev golang-github-agext-levenshtein-dev
  golang-github-containernetworking-plugins-dev golang-github-coreos-go-systemd-dev
  golang-github-secure-systems-lab-go-securesystemslib-dev golang-github-prometheus-client-golang-dev"
newer="golang-github-package-url-packageurl-go-dev golang-github-tonistiigi-go-archvariant-dev"

fail() {
  echo "buildkitd: $1" >&2
  exit 6
}

. "$here/tests/debian_apt.sh"
exec 9>"$dir/lock" # several tests may want it at once
flock 9
[ -x "$dir/buildkitd" ] && exit 0
rm -rf "$root"
open_archive
mkdir "$apt/debs"
cd "$apt/debs"
know trixie
# Of all that these depend on, what is Go.
needed=$(private_apt install --print-uris $wanted | sed -n "s/.*' \(golang-[^_]*\)_.*/\1/p")
private_apt download $needed
know sid
private_apt download $newer
for deb in *.deb; do dpkg -x "$deb" "$root"; done
rm -rf "$apt"

GOROOT=$(echo "$root"/usr/lib/go-*)
export GOROOT GOPATH="$root/usr/share/gocode" GOCACHE="$dir/cache" GO111MODULE=off CGO_ENABLED=0
cd "$GOPATH/src/github.com/moby/buildkit"
# With a go.mod, imports of PATH/v2 are found in PATH, where Debian has them.
echo "module github.com/moby/buildkit" >go.mod
sed -i '/azblob/d; /remotecache\/gha/d; /gha\.Resolve/d; /s3remotecache/d' cmd/buildkitd/main.go
sed -i '/containerd\/fuse-overlayfs-snapshotter"/d
  s/fuseoverlayfs\.Supported(commonRoot)/errors.New("left out")/
  s/return fuseoverlayfs\.NewSnapshotter(root)/return nil, errors.New("left out")/' \
  cmd/buildkitd/main_oci_worker.go
"$GOROOT/bin/go" build -trimpath -o "$dir/buildctl" ./cmd/buildctl
"$GOROOT/bin/go" build -trimpath -o "$dir/buildkitd.partial" ./cmd/buildkitd
rm -rf "$root" "$dir/cache"
mv "$dir/buildkitd.partial" "$dir/buildkitd"
