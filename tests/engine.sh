#!/bin/sh
# Start or stop a private Docker Engine for the tests: own socket, data, exec root and binaries, all
# under one folder, so that it never meets an engine that the user has.
#
#   tests/engine.sh start [DIR]    start it (DIR: .engine), installing what is missing; idempotent
#   tests/engine.sh stop  [DIR]    end exactly what start began; images stay in DIR for next time
#   tests/engine.sh env   [DIR]    print the shell lines that point docker at it
#
# The binaries are Debian's, unpacked and not installed: installing docker.io would start a system
# engine. Debian 12 has Docker 20.10, whose BuildKit is too old, so there Debian 13's is taken, but
# for runc, whose newer build wants a newer libc than Debian 12 has.
set -eu

command=${1:-}
here=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${2:-$here/.engine}"
dir=$(cd "${2:-$here/.engine}" && pwd)
root=$dir/root
socket=$dir/docker.sock
pidfile=$dir/docker.pid
PATH=$root/usr/sbin:$root/usr/bin:$PATH

fail() {
  echo "engine: $1" >&2
  exit 6
}

answers() {
  DOCKER_HOST=unix://$socket docker version --format '{{.Server.Version}}' 2>/dev/null
}

# The pid in the pid file, if it still is this folder's engine (a pid may have been reused).
running() {
  [ -f "$pidfile" ] && pid=$(cat "$pidfile") &&
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- "--pidfile $pidfile" && echo "$pid"
}

# apt with a root of its own, which knows one suite: $1 is the suite, the rest goes to apt-get.
private_apt() {
  apt=$dir/apt
  mkdir -p "$apt/lists/partial" "$apt/archives/partial"
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $1 main" \
    >"$apt/sources.list"
  shift
  apt-get -qq -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$apt/lists" -o Dir::State::Status="$apt/status" \
    -o Dir::Cache="$apt" -o APT::Sandbox::User=root -o APT::Update::Post-Invoke-Success::= "$@"
}

main_archive() {
  apt-get indextargets --format '$(CODENAME) $(REPO_URI)' \
    'Identifier: Packages' 'Label: Debian' 'Component: main' |
    sed -n "s/^$1 //p" | head -n 1
}

unpack() {
  . /etc/os-release
  [ "$ID" = debian ] || fail "needs Debian 12 or later to unpack Docker from; this is $PRETTY_NAME"
  mirror=$(main_archive "$VERSION_CODENAME")
  if [ -z "$mirror" ]; then
    apt-get -qq update
    mirror=$(main_archive "$VERSION_CODENAME")
  fi
  [ -n "$mirror" ] || fail "apt knows no source for $VERSION_CODENAME/main; add one"
  suite=$VERSION_CODENAME
  if [ "${VERSION_ID:-99}" -lt 13 ]; then suite=trixie; fi # testing has no number

  mkdir -p "$dir/debs"
  cd "$dir/debs"
  fetch "$VERSION_CODENAME" runc openssh-server libwrap0 # sshd: for an engine behind SSH
  fetch "$suite" docker.io docker-cli docker-buildx containerd tini
  rm -rf "$root.partial"
  for deb in *.deb; do dpkg -x "$deb" "$root.partial"; done
  cd "$dir"
  rm -rf "$root"
  mv "$root.partial" "$root"
  rm -rf "$dir/debs" "$dir/apt"
}

# Download into the current folder, from suite $1, the packages after it.
fetch() {
  from=$1
  shift
  private_apt "$from" update
  private_apt "$from" download "$@"
}

install_needed() {
  { [ -x "$root/usr/sbin/dockerd" ] && [ -x "$root/usr/sbin/sshd" ]; } || unpack
  missing=$(ldd "$root/usr/sbin/dockerd" "$root/usr/bin/runc" "$root/usr/bin/containerd" |
    sed -n 's/^\t\(.*\) => not found/\1/p')
  [ -z "$missing" ] || fail "dockerd needs $missing; apt-get install the packages that hold them"
}

start() {
  [ "$(id -u)" = 0 ] || fail "starting an engine needs root"
  if version=$(answers); then
    echo "engine: Docker $version already answers at unix://$socket"
    return
  fi
  [ ${#socket} -le 70 ] || fail "$socket is too long for a socket's name; pass a shorter folder"
  install_needed
  mkdir -p "$dir/config/cli-plugins"
  ln -sf "$root/usr/libexec/docker/cli-plugins/docker-buildx" "$dir/config/cli-plugins/"
  # Else a disk that is nearly full makes BuildKit forget what tests expect it to remember.
  gc='{"enabled": true, "policy": [{"keepStorage": "64GB", "all": true}]}'
  echo "{\"features\": {\"containerd-snapshotter\": true}, \"builder\": {\"gc\": $gc}}" \
    >"$dir/daemon.json"
  # No bridge and no firewall rules: the host's network stays as it is; builds use the host's.
  setsid dockerd --config-file "$dir/daemon.json" --host "unix://$socket" \
    --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$pidfile" \
    --bridge none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
    --exec-opt native.cgroupdriver=cgroupfs \
    </dev/null >"$dir/dockerd.log" 2>&1 &
  for _ in $(seq 120); do
    if version=$(answers); then
      echo "engine: Docker $version answers at unix://$socket"
      return
    fi
    kill -0 $! 2>/dev/null || break
    sleep 0.5
  done
  kill $! 2>/dev/null || true
  tail -n 20 "$dir/dockerd.log" >&2
  fail "dockerd did not come up; its whole log is $dir/dockerd.log"
}

stop() {
  pid=$(running) || {
    echo "engine: none is running in $dir"
    return
  }
  # A build or container that is still on the engine is ended with it.
  kill "$pid"
  for _ in $(seq 60); do
    if [ ! -d "/proc/$pid" ]; then
      echo "engine: stopped"
      return
    fi
    sleep 0.5
  done
  fail "dockerd ($pid) does not end; see $dir/dockerd.log"
}

print_env() {
  echo "export DOCKER_HOST='unix://$socket'"
  echo "export DOCKER_CONFIG='$dir/config'"
  echo "export PATH='$root/usr/bin':\"\$PATH\""
}

case $command in
  start) start ;;
  stop) stop ;;
  env) print_env ;;
  *) fail "usage: tests/engine.sh start|stop|env [DIR]" ;;
esac
