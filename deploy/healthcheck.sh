#!/bin/sh
# Whether the role that this container was started for is in health.
set -eu

answers() {
  python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "$1"
}

case "$(cat "${ROLE_FILE:-/tmp/role}")" in
  api)    answers "http://127.0.0.1:${API_PORT:-8000}/healthz" ;;
  code)   dagster api grpc-health-check --port 4000 ;;
  web)    answers "http://127.0.0.1:${UI_PORT:-3000}${UI_ROOT_PATH:-}/server_info" ;;
  daemon) dagster-daemon liveness-check ;;
  worker) celery --broker "$CELERY_BROKER" inspect ping --timeout 5 \
            --destination "$(cat "${ROLE_FILE:-/tmp/role}")@$(hostname)" ;;
esac
