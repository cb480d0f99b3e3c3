#!/bin/sh
# Build the package in /build/source into /wheels, in the environment /opt/build, as envbuilder's own
# engine does: no network, no secrets; the arguments, NAME=value, are variables for it. Where there is
# ccache or sccache, it remembers in /build/cache what was compiled before; with $RECOMPILE it looks
# nothing up there.
. /run/build/step.sh

export PATH="/opt/build/bin:/usr/lib/ccache:/usr/lib64/ccache:$PATH" VIRTUAL_ENV=/opt/build
export HOME=/tmp/home LC_ALL=C.UTF-8 TZ=UTC SOURCE_DATE_EPOCH="$TIME" PYTHONHASHSEED=0
export CCACHE_DIR=/build/cache/ccache SCCACHE_DIR=/build/cache/sccache CCACHE_COMPILERCHECK=content
if [ -n "$RECOMPILE" ]; then
  export CCACHE_RECACHE=1 SCCACHE_RECACHE=1
fi
mkdir "$HOME"
for variable; do # what the source says counts before what follows from it
  export "$variable"
done
compilers() {
  /opt/build/bin/python -I -B /run/build/hook_compilers.py "$1"
}
commands=$(compilers /tmp/compilers)
eval "$commands"
/run/uv/bin/uv build --color never --offline --no-cache --wheel --no-build-isolation \
  --python /opt/build/bin/python --out-dir /wheels "/build/source/$SUBDIRECTORY"
compilers finish
rm -f /wheels/.gitignore
