#!/bin/sh
# The image's one entry point: its first argument names the role; any other is a command of
# operator-prices, as `migrate`, `backfill --from 0 --to latest`, `status`.
set -eu

role=${1:-}
[ $# -eq 0 ] || shift
echo "$role" > "${ROLE_FILE:-/tmp/role}"

case "$role" in
  api)    exec python -m operator_prices.web ;;
  code)   exec dagster api grpc --host "${CODE_SERVER_LISTEN:-127.0.0.1}" --port 4000 \
            --module-name operator_prices.definitions --location-name operator_prices \
            --inject-env-vars-from-instance ;;
  web)    exec dagster-webserver --host "${UI_HOST:-127.0.0.1}" --port "${UI_PORT:-3000}" \
            --path-prefix "${UI_ROOT_PATH:-}" --db-pool-max-overflow 1 \
            --workspace "$DEPLOY/workspace.yaml" "$@" ;;
  daemon) exec dagster-daemon run --workspace "$DEPLOY/workspace.yaml" ;;
  worker) exec operator-prices worker ;;
  "")     echo "Say what to be: api, code, web, daemon, worker, or a command of operator-prices." >&2
          exit 2 ;;
  *)      exec operator-prices "$role" "$@" ;;
esac
