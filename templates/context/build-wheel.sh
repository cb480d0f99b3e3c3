#!/bin/sh
# Build one package from git into /wheels: the commit $COMMIT of $REPOSITORY, whose files must be the
# tree $TREE, with exactly the build requirements of /run/requirements.txt.
. /run/build/step.sh

command -v git >/dev/null || {
  echo "there is no git in the base: add it to the spec's system packages" >&2
  exit 1
}
git init --quiet /tmp/source
cd /tmp/source
git fetch --quiet --depth 1 -- "$REPOSITORY" "$COMMIT"
git checkout --quiet FETCH_HEAD
found=$(git rev-parse 'HEAD^{tree}')
[ "$found" = "$TREE" ] || {
  echo "commit $COMMIT holds tree $found, not $TREE as locked" >&2
  exit 1
}
if [ -n "$SUBMODULES" ]; then
  git submodule --quiet update --init --recursive --depth 1
fi
rm -rf .git
if [ -n "$DESCRIBE" ]; then
  # What tools that make versions of tags read where there is no .git.
  printf 'node: %s\ndescribe-name: %s\n' "$COMMIT" "$DESCRIBE" >.git_archival.txt
fi

/run/uv/bin/uv venv --quiet --python "$INTERPRETER" /opt/build
/run/uv/bin/uv pip sync --quiet --python /opt/build/bin/python --link-mode copy \
  --only-binary :all: --require-hashes /run/requirements.txt
export PATH="/opt/build/bin:$PATH" SOURCE_DATE_EPOCH="$TIME" PYTHONHASHSEED=0
/run/uv/bin/uv build --quiet --wheel --no-build-isolation --python /opt/build/bin/python \
  --out-dir /wheels "./$SUBDIRECTORY"
rm -f /wheels/.gitignore
