#!/bin/sh
# Install the wheels of one layer into /opt/venv: exactly those of /run/requirements.txt, or the one
# in /run/wheels that was built: from git, whose origin /run/direct_url.json tells, or from an archive,
# which the spec requests if $REQUESTED names it. The environment's own files are there while uv works and
# gone afterwards: they are a layer of their own.
. /run/build/step.sh

if [ -L /opt ]; then
  echo "the base, or a step before Python, has a link at /opt, on the way to the environment's place" >&2
  exit 1
fi
if [ -e /opt/venv ] || [ -L /opt/venv ]; then
  echo "the base, or a step before Python, has an /opt/venv, which is the environment's place" >&2
  exit 1
fi
cp -a /run/skeleton/. /
if [ -e /run/requirements.txt ]; then
  /run/uv/bin/uv pip sync --quiet --python /opt/venv/bin/python --link-mode copy \
    --no-compile-bytecode ${PIP_NO_INDEX:+--no-index} \
    --only-binary :all: --index-strategy unsafe-best-match --require-hashes /run/requirements.txt
  /opt/venv/bin/python /run/build/settle.py /opt/venv /run/requirements.txt
else
  /run/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --link-mode copy \
    --no-compile-bytecode --no-deps /run/wheels/*.whl
  echo "${REQUESTED:+$REQUESTED==0  # requested}" >/tmp/requested.txt
  origin=/run/direct_url.json
  [ -e "$origin" ] || origin=
  /opt/venv/bin/python /run/build/settle.py /opt/venv /tmp/requested.txt ${origin:+"$origin"}
fi
(cd /run/skeleton && find . ! -type d) | while read -r path; do
  rm -f "/$path"
done
rm -f /opt/venv/.lock
if [ -d /opt/venv/bin ]; then
  rmdir --ignore-fail-on-non-empty /opt/venv/bin
fi
