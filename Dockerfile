# syntax=docker/dockerfile:1
# One image for all roles: see deploy/entrypoint.sh. PYTHON is any slim image with python3, its venv
# module and apt-get; pin it by digest for a release.
ARG PYTHON=python:3.12-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE dagster.yaml workspace.yaml ./
COPY sql sql
COPY operator_prices operator_prices
RUN python3 -m venv /opt/operator-prices \
 && /opt/operator-prices/bin/pip install --no-cache-dir --disable-pip-version-check \
      --constraint constraints.txt ".[celery,k8s]"

FROM ${PYTHON}
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --user-group --create-home --home-dir /var/lib/operator-prices operator-prices \
 && install --directory --owner operator-prices --group operator-prices /opt/dagster
COPY --from=build /opt/operator-prices /opt/operator-prices
COPY deploy /opt/deploy
COPY --chown=operator-prices:operator-prices dagster.yaml /opt/dagster/default/dagster.yaml
COPY --chown=operator-prices:operator-prices deploy/dagster.celery.yaml /opt/dagster/celery/dagster.yaml
ENV PATH=/opt/operator-prices/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DATA_DIR=/var/lib/operator-prices \
    DAGSTER_HOME=/opt/dagster/default \
    DAGSTER_EVENT_BATCH_SIZE=50 \
    DEPLOY=/opt/deploy \
    CODE_SERVER_HOST=code \
    API_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/operator-prices
EXPOSE 3000 4000 8000
HEALTHCHECK --interval=15s --timeout=30s --start-period=60s CMD ["/opt/deploy/healthcheck.sh"]
ENTRYPOINT ["tini", "--", "/opt/deploy/entrypoint.sh"]
CMD ["api"]
