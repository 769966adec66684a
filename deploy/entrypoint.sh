#!/bin/sh
# The image's one entry point: its first argument names the role; any other is a command of
# operator-prices, as `migrate`, `backfill --from 0 --to latest`, `status`. On Kubernetes it is a
# program: `dagster api grpc ...` by Dagster's chart, `.../python -m dagster api execute_run ...` a run.
set -eu

role=${1:-}
[ $# -eq 0 ] || shift
[ -z "${ROLE_FILE:-}" ] || echo "$role" > "$ROLE_FILE"

case "$role" in
  api)    exec python -m operator_prices.web ;;
  code)   exec dagster api grpc --host "${CODE_SERVER_LISTEN:-127.0.0.1}" --port 4000 \
            --module-name operator_prices.definitions --location-name operator_prices \
            --inject-env-vars-from-instance ;;
  web)    exec dagster-webserver --host "${UI_HOST:-127.0.0.1}" --port "${UI_PORT:-3000}" \
            --path-prefix "${UI_ROOT_PATH:-}" --db-pool-max-overflow 2 \
            --workspace "$DEPLOY/workspace.yaml" "$@" ;;
  daemon) exec dagster-daemon run --workspace "$DEPLOY/workspace.yaml" ;;
  worker) exec operator-prices worker ;;
  dagster|*/*) exec "$role" "$@" ;;
  "")     echo "Say what to be: api, code, web, daemon, worker, or a command of operator-prices." >&2
          exit 2 ;;
  *)      exec operator-prices "$role" "$@" ;;
esac
