# Any Debian with python3 (3.11 or newer), python3-venv and ca-certificates serves as the base,
# so that the image can also be built where no registry is reachable.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
# Two environments, so that neither pip nor setuptools gets into the image that runs.
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/sidecarpolicy

# Wheels only: nothing is compiled, and no setup.py of a dependency runs here.
# The requirements come before the sources, so that a change of code keeps this layer.
COPY operator/requirements.txt operator/build-requirements.txt operator/
RUN /build/bin/pip install --no-cache-dir --only-binary :all: --require-hashes \
        -r operator/build-requirements.txt \
    && /build/bin/pip --python /opt/sidecarpolicy/bin/python install --no-cache-dir --no-compile \
        --only-binary :all: --require-hashes -r operator/requirements.txt

# pyproject.toml stays the one description of the package, entry points included: its backend,
# setuptools, is locked by hash in a file of its own, and --no-build-isolation keeps pip from
# fetching another one. Our own wheel needs no hash, it never leaves this stage.
COPY pyproject.toml README.md LICENSE ./
COPY operator/sidecarpolicy operator/sidecarpolicy
RUN /build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /build/bin/pip --python /opt/sidecarpolicy/bin/python install --no-cache-dir --no-compile \
        --no-deps --no-index /wheels/sidecarpolicy-*.whl

# Compiled here, because nothing can be written at run time. Unchecked: file times that change
# on the way to a node must not make Python compile everything again at each start.
RUN /opt/sidecarpolicy/bin/python -m compileall -q --invalidation-mode unchecked-hash \
        /opt/sidecarpolicy/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="sidecarpolicy" \
      org.opencontainers.image.description="A Kubernetes operator that makes native sidecar containers adoptable in mixed clusters" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/sidecarpolicy/sidecarpolicy"
COPY --from=build /opt/sidecarpolicy /opt/sidecarpolicy
ENV PATH=/opt/sidecarpolicy/bin:$PATH
# All that the controller imports loads on this base, or the build fails. It also leaves the
# bytecode of those parts of the standard library that we use: the slim Python images ship none.
RUN ["/opt/sidecarpolicy/bin/python", "-c", "import rich, sidecarpolicy.cli, sidecarpolicy.controller.app, sidecarpolicy.webhook.app"]

# USER as a variable: Kopf asks for the user's name, and a user that is only a number has none.
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    USER=sidecarpolicy
USER 65532:65532
ENTRYPOINT ["sidecarpolicy"]
