# The image of joblog: `docker build -t joblog .`. Reproducible as far as it goes: bases by their version (give a digest
# with --build-arg for the very same one), everything else by hashes in config/docker and ui/package-lock.json.
ARG NODE_IMAGE=node:22.21.1-bookworm-slim
# Of the Python versions that joblog takes, the one whose packages are locked and tried.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${NODE_IMAGE} AS ui
WORKDIR /src/ui
COPY ui/package.json ui/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY ui ./
RUN npm run build

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# What a wheel's files are dated: the same sources give the same wheel.
ENV SOURCE_DATE_EPOCH=1767225600
WORKDIR /src
COPY config/docker config/docker
RUN python -m venv --without-pip /opt/joblog
RUN python -m pip --python /opt/joblog/bin/python install --no-compile --no-deps --only-binary :all: \
        --require-hashes --requirement config/docker/requirements.txt
RUN python -m venv /tmp/build \
    && /tmp/build/bin/python -m pip install --only-binary :all: \
        --require-hashes --requirement config/docker/build-requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY leader leader
COPY worker worker
COPY joblog joblog
COPY --from=ui /src/leader/api/ui leader/api/ui
RUN /tmp/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
    && python -m pip --python /opt/joblog/bin/python install --no-compile --no-deps --no-index /tmp/wheel/*.whl
# The root file system is read-only where it runs. Compiled by content, so that no time is in it.
RUN /opt/joblog/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/joblog/lib

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="joblog" \
      org.opencontainers.image.description="Collects the logs of jobs and pods, every byte exactly once" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/joblog /opt/joblog
ENV PATH=/opt/joblog/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 JOBLOG_DATA_DIR=/data/joblog HOME=/tmp
# In Kubernetes a volume is mounted over it; without one the container's own layer, or a volume of the engine's, takes it.
RUN install --directory --mode 0700 --owner 65532 --group 65532 /data/joblog
USER 65532:65532
EXPOSE 7080 7081 7082
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["joblog"]
CMD ["--help"]
