#!/bin/sh
# Whether the role that this container was started for is in health.
set -eu

answers() {
  python -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "$1"
}

role=$(cat "${ROLE_FILE:?names the file in which the entry point has noted the role}")

case "$role" in
  api)    answers "http://127.0.0.1:${API_PORT:-8000}/healthz" ;;
  code)   dagster api grpc-health-check --port 4000 ;;
  web)    answers "http://127.0.0.1:${UI_PORT:-3000}${UI_ROOT_PATH:-}/server_info" ;;
  daemon) dagster-daemon liveness-check ;;
  worker) CELERY_BROKER_URL=$CELERY_BROKER celery inspect ping --timeout 5 \
            --destination "$role@$(hostname)" ;;
esac
