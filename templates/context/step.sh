# Sourced first by every RUN of the rendered Dockerfile: stop at the first error, take the build
# host's settings from secret mounts, and leave nothing behind that differs from build to build.
set -e

# useradd and Python's compiler take the day from here; 2000-01-01, like everything in the image.
export SOURCE_DATE_EPOCH=946684800
export PYTHONDONTWRITEBYTECODE=1 DEBIAN_FRONTEND=noninteractive

# What the base tells uv and pip is for the steps of the spec; our own scripts hear the build host.
case $0 in /run/build/*)
  unset $(env | sed -n -E 's/^((UV|PIP)_[A-Za-z0-9_]*)=.*/\1/p')
  ;;
esac

# NAME=value lines: package indexes and their credentials (UV_*, PIP_*).
if [ -s /run/secrets/env ]; then
  set -a
  . /run/secrets/env
  set +a
fi
if [ -s /run/secrets/uv ]; then
  export UV_CONFIG_FILE=/run/secrets/uv
fi
if [ -s /run/secrets/netrc ]; then
  export NETRC=/run/secrets/netrc
fi
if [ -s /run/secrets/ca ]; then
  export SSL_CERT_FILE=/run/secrets/ca REQUESTS_CA_BUNDLE=/run/secrets/ca
  export CURL_CA_BUNDLE=/run/secrets/ca PIP_CERT=/run/secrets/ca GIT_SSL_CAINFO=/run/secrets/ca
  echo 'Acquire::https::CAInfo "/run/secrets/ca";' >/tmp/apt-ca.conf
  export APT_CONFIG=/tmp/apt-ca.conf
  if command -v dnf >/dev/null; then # which no variable tells
    dnf() { command dnf --setopt=sslcacert=/run/secrets/ca "$@"; }
  fi
fi

# A step that edits a module of the base leaves bytecode that hides it: Debian's is not checked
# against its source (unchecked_pyc.py). Each Python looks at its own.
drop_stale_bytecode() {
  [ -e /run/build/unchecked_pyc.py ] || return 0
  for python in /usr/bin/python3.* /usr/local/bin/python3.* /opt/*/bin/python3.*; do
    case $python in
    /opt/venv/* | */python3.[0-8] | */python3.*[!0-9]*) continue ;; # too old, or python3.11-config
    esac
    if [ -x "$python" ]; then
      env -i "$python" -s -S -B /run/build/unchecked_pyc.py --stale /
    fi
  done
}

leave_nothing_behind() {
  case $0 in
  /run/build/*) ;; # our own scripts edit no module
  *) drop_stale_bytecode ;;
  esac
  find /var/log -type f \( -path '/var/log/apt/*' -o -name dpkg.log -o -name alternatives.log \
    -o -name 'dnf*.log' -o -name hawkey.log -o -name lastlog -o -name faillog \) -delete
  rm -f /var/cache/ldconfig/aux-cache /var/cache/debconf/*-old /var/lib/dpkg/*-old \
    /var/lib/dnf/history.sqlite* /var/lib/rpm/rpmdb.sqlite-shm /var/lib/rpm/.rpm.lock
}
trap leave_nothing_behind EXIT
