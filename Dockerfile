# Postback with all that it needs. It runs as a user of its own, with the root file system read-only, and writes to
# /data and /tmp only: docs/how-to/run-in-a-container.md. Debian 12 has the Python that the tests run on.
FROM debian:bookworm-slim AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/postback
WORKDIR /build
COPY requirements/run.txt requirements/run.txt
RUN /opt/postback/bin/pip install --no-cache-dir --require-hashes --requirement requirements/run.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/postback/bin/pip install --no-cache-dir --no-deps . \
    && /opt/postback/bin/pip uninstall --yes setuptools pip

FROM debian:bookworm-slim
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends python3 ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin postback \
    && install --directory --owner postback --group postback --mode 700 /data
COPY --from=build /opt/postback /opt/postback
ENV PATH=/opt/postback/bin:$PATH \
    POSTBACK_HOST=0.0.0.0 \
    POSTBACK_DATA=/data
USER 10001:10001
VOLUME /data
EXPOSE 8787
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8787/healthz', timeout=4)"]
ENTRYPOINT ["postback"]
CMD ["serve"]
