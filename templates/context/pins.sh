#!/bin/sh
# Ask the base's package manager which packages, in which versions, it would install for the names
# given after the interpreter's; a Python that the base lacks is one of them. /pins tells.
. /run/build/step.sh
command -v "$1" >/dev/null || set -- "$@" "${1##*/}"
shift

mkdir /pins
if command -v apt-get >/dev/null; then
  echo apt >/pins/manager
  apt-get -qq update
  apt-get -qq --simulate install --no-install-recommends "$@" >/tmp/answer
  sed -n 's/^Inst \([^ ]*\) .*(\([^ )]*\) .*/\1=\2/p' /tmp/answer | sort >/pins/packages
elif command -v dnf >/dev/null; then
  echo dnf >/pins/manager
  # It answers with a table (not if it is to be quiet) and, since it may not go on, exit code 1.
  LC_ALL=C dnf --assumeno --setopt=install_weak_deps=False install "$@" >/tmp/answer 2>&1 \
    || grep -q '^Operation aborted' /tmp/answer || {
    cat /tmp/answer >&2
    exit 1
  }
  awk -v arch='^(x86_64|aarch64|noarch)$' '
    NF == 1 { name = $1; next } # too long for the table: the rest is in the next line
    name != "" && $1 ~ arch { print name "-" $2 "." $1 }
    $2 ~ arch { print $1 "-" $3 "." $2 }
    { name = "" }' /tmp/answer | sort >/pins/packages
else
  echo "the base has neither apt-get nor dnf to install $* with" >&2
  exit 1
fi
