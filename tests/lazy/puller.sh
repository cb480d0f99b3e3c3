#!/bin/sh
# Pull an image with one puller, start it, and say when each is done: a line on stdout.
#
#   puller.sh PULLER IMAGE CODE [NEXT]    PULLER: podman, podman-partial, containerd, docker, stargz
#
# CODE is what the image's Python runs; NEXT is another image that is pulled after that. Runs as the
# first process of namespaces of its own (toolbox.py), in which its daemons end with it. All that a
# puller keeps lies below /scratch and /run, both empty at the start.
set -eu

puller=$1 image=$2 code=$3 next=${4:-}
python=/opt/venv/bin/python

# Wait until a command succeeds: a daemon answers.
await() {
  for _ in $(seq 300); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  cat /scratch/*.log >&2
  exit 1
}

start_podman() {
  cat >/scratch/storage.conf <<END
[storage]
driver = "overlay"
graphroot = "/scratch/storage"
runroot = "/run/storage"
[storage.options]
pull_options = {enable_partial_images = "$1"}
END
  export CONTAINERS_STORAGE_CONF=/scratch/storage.conf PODMAN_IGNORE_CGROUPSV1_WARNING=1
  mount -t tmpfs none /sys/fs/cgroup # crun refuses mixed hierarchies
}

start_containerd() {
  cat >/scratch/containerd.toml <<END
version = 2
root = "/scratch/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "/run/containerd.sock"
[proxy_plugins.stargz]
type = "snapshot"
address = "/run/stargz.sock"
END
  export CONTAINERD_ADDRESS=/run/containerd.sock
  containerd --config /scratch/containerd.toml >/scratch/containerd.log 2>&1 &
  await ctr version
}

start_stargz() {
  mkdir /scratch/stargz
  /opt/snapshotter /run/stargz.sock /scratch/stargz >/scratch/stargz.log 2>&1 &
  await test -S /run/stargz.sock
  start_containerd
}

start_docker() {
  dockerd --host unix:///run/docker.sock --data-root /scratch/docker --exec-root /run/docker \
    --pidfile /run/docker.pid --iptables=false --ip6tables=false --bridge=none \
    --exec-opt native.cgroupdriver=cgroupfs >/scratch/docker.log 2>&1 &
  await docker version
}

case $puller in
podman) start_podman false ;;
podman-partial) start_podman true ;;
containerd) start_containerd ;;
stargz) start_stargz ;;
docker) start_docker ;;
*) echo "no such puller: $puller" >&2; exit 2 ;;
esac

pull() {
  case $puller in
  podman*) podman pull --quiet --tls-verify=false "$1" ;;
  containerd) ctr images pull --plain-http "$1" ;;
  stargz) ctr-remote images rpull --plain-http "$1" ;;
  docker) docker pull --quiet "$1" ;;
  esac >/scratch/said.log 2>&1 || { cat /scratch/said.log >&2; exit 1; }
}

run() {
  case $puller in
  podman*) podman run --rm --network=none --cgroups=disabled --entrypoint "$python" "$image" -c "$code" ;;
  containerd) ctr run --rm "$image" it "$python" -c "$code" ;;
  stargz) ctr-remote run --rm --snapshotter=stargz "$image" it "$python" -c "$code" ;;
  docker) docker run --rm --network none --entrypoint "$python" "$image" -c "$code" ;;
  esac >/scratch/said.log 2>&1 || { cat /scratch/said.log >&2; exit 1; }
}

echo ready
pull "$image"
echo pulled
run
echo started
if [ -n "$next" ]; then
  pull "$next"
  echo next
fi
