#!/bin/sh
# Builds the image on a machine without Docker, as root of a Debian with buildah and debootstrap:
#   deploy/build-image.sh [TAG]
# The base is Debian's own: a machine that cannot reach a registry of images can build, too. It is kept
# as the image `operator-prices-base` and made anew where there is none.
set -eu

tag=${1:-operator-prices}
base=localhost/operator-prices-base
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
  debootstrap --variant=minbase --include=python3-venv,ca-certificates bookworm "$work/base" >&2
  # As slim images of Debian do: no documents, no translations, nothing that apt keeps.
  for kept in doc man locale info; do rm -rf "$work/base/usr/share/$kept"; done
  rm -rf "$work"/base/var/cache/apt/* "$work"/base/var/lib/apt/lists/*
  container=$(buildah from scratch)
  buildah copy --quiet "$container" "$work/base" / >&2
  buildah commit --quiet --rm "$container" "$base" >&2
fi

# What this machine trusts, the build trusts: a proxy may have certificates of its own.
printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' > "$work/pip.conf"
buildah build --isolation chroot --format docker --pull-never --tag "$tag" --build-arg PYTHON="$base" \
  --volume /etc/ssl/certs:/etc/ssl/certs:ro --volume "$work/pip.conf:/etc/pip.conf:ro" . >&2
echo "$tag"
