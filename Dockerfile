# Every process of Holdfast: the command says which. The base comes from the environment of `docker compose`, e.g. a mirror's.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
# The compiled parts want a C compiler, which stays behind in this stage.
RUN command -v gcc >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends gcc libc6-dev; }
RUN python3.11 -m venv /opt/holdfast
COPY constraints.txt setup.cfg setup.py pyproject.toml README.md ./
COPY failpoints failpoints
COPY generations generations
COPY telemetry telemetry
COPY schemas schemas
COPY ingest ingest
COPY streams streams
COPY sinks sinks
COPY holdfast holdfast
RUN /opt/holdfast/bin/pip install --no-cache-dir -c constraints.txt '.[traces]'

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 holdfast && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent holdfast
# A tmpfs over a folder gets that folder's mode when its container starts a second time, whatever was asked for.
RUN install -d -m 1777 /run/holdfast
COPY --from=build /opt/holdfast /opt/holdfast
ENV PATH=/opt/holdfast/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOLDFAST_HOME=/tmp/holdfast HOLDFAST_RUN_DIR=/run/holdfast
# A number, so that Kubernetes sees that it is not root.
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["holdfast"]
CMD ["--help"]
