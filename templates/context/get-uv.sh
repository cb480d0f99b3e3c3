#!/bin/sh
# Put uv, checked against its hash, into /opt/uv. It needs pip for that, which may be installed for
# it: this runs in a stage of its own, of which the image takes nothing.
. /run/build/step.sh

if ! python3 -m pip --version >/dev/null 2>&1; then
  if command -v apt-get >/dev/null; then
    apt-get -qq update
    apt-get -qq install --yes --no-install-recommends python3-pip
  elif command -v dnf >/dev/null; then
    dnf --quiet --assumeyes install python3-pip
  else
    echo "cannot install pip here: the base has neither apt-get nor dnf" >&2
    exit 1
  fi
fi
python3 -m pip install --quiet --no-cache-dir --disable-pip-version-check --target /opt/uv \
  --only-binary :all: --require-hashes --requirement /run/build/uv.txt
