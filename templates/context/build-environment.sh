#!/bin/sh
# Lay exactly the build requirements of /run/requirements.txt, wheels all of them, into /opt/build,
# and those below /run/tools, which were built before.
. /run/build/step.sh

/run/uv/bin/uv venv --quiet --python "$INTERPRETER" /opt/build
/run/uv/bin/uv pip sync --quiet --python /opt/build/bin/python --link-mode copy \
  --no-compile-bytecode ${PIP_NO_INDEX:+--no-index} \
  --only-binary :all: --index-strategy unsafe-best-match --require-hashes /run/requirements.txt
if [ -d /run/tools ]; then
  /run/uv/bin/uv pip install --quiet --python /opt/build/bin/python --link-mode copy \
    --no-compile-bytecode --no-index --no-deps --no-cache --offline /run/tools/*/*.whl
fi
