# syntax=docker/dockerfile:1
# One image for all roles: see deploy/entrypoint.sh. PYTHON is any slim image with python3, its venv
# module and apt-get; pin it by digest for a release. EXTRAS are the launchers that it can be used with.
ARG PYTHON=python:3.12-slim-bookworm

FROM ${PYTHON} AS build
ARG EXTRAS=celery,k8s
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends binutils \
 && python3 -m venv /opt/pip \
 && python3 -m venv --without-pip /opt/operator-prices
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE dagster.yaml workspace.yaml ./
COPY sql sql
COPY operator_prices operator_prices
COPY deploy deploy
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_PYTHON=/opt/operator-prices/bin/python
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/pip/bin/pip install --no-compile --constraint constraints.txt ".[${EXTRAS}]" \
 && /opt/pip/bin/pip uninstall --yes --requirement deploy/left-out.txt \
 && deploy/slim.sh /opt/operator-prices

FROM ${PYTHON}
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
 && useradd --uid 10001 --user-group --create-home --home-dir /var/lib/operator-prices operator-prices \
 && install --directory --owner operator-prices --group operator-prices \
      /opt/dagster/default/storage /opt/dagster/celery/storage /spool
COPY --from=build /opt/operator-prices /opt/operator-prices
COPY deploy/entrypoint.sh deploy/healthcheck.sh deploy/workspace.yaml /opt/deploy/
COPY dagster.yaml /opt/dagster/default/dagster.yaml
COPY deploy/dagster.celery.yaml /opt/dagster/celery/dagster.yaml
ENV PATH=/opt/operator-prices/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DATA_DIR=/var/lib/operator-prices \
    DAGSTER_HOME=/opt/dagster/default \
    DAGSTER_EVENT_BATCH_SIZE=50 \
    DEPLOY=/opt/deploy \
    ROLE_FILE=/tmp/role \
    CODE_SERVER_HOST=code \
    CODE_SERVER_LISTEN=0.0.0.0 \
    API_HOST=0.0.0.0 \
    UI_HOST=0.0.0.0
USER 10001:10001
WORKDIR /var/lib/operator-prices
EXPOSE 3000 4000 8000
HEALTHCHECK --interval=15s --timeout=30s --start-period=60s CMD ["/opt/deploy/healthcheck.sh"]
ENTRYPOINT ["tini", "--", "/opt/deploy/entrypoint.sh"]
CMD ["api"]
