# The node. Context: the repository. EXTRA=[tensorrt] adds what an NVIDIA GPU runs plans with.
FROM python:3.11-slim-bookworm@sha256:0bee7276f83efd4a1ee05bbbf4281d95ed28e079220a9457f25a93e3f1e3c31b AS build
ARG EXTRA=
WORKDIR /src
COPY deploy/compose/requirements.txt ./
# First, with their digests: what follows finds them here and fetches only what EXTRA adds.
RUN python -m venv /opt/hepar \
 && /opt/hepar/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.txt
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY engine engine
COPY dicom_node dicom_node
COPY trainer trainer
RUN /opt/hepar/bin/pip install --no-cache-dir --constraint constraints.txt ".${EXTRA}"

FROM python:3.11-slim-bookworm@sha256:0bee7276f83efd4a1ee05bbbf4281d95ed28e079220a9457f25a93e3f1e3c31b
COPY --from=build /opt/hepar /opt/hepar
# The volumes take over the owner of the folders they are laid over.
RUN useradd --system --uid 10001 --no-create-home hepar \
 && install -d -o hepar -g hepar -m 700 /var/lib/hepar /var/lib/hepar/plans /models
USER 10001:10001
ENV TCP_NODELAY=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
EXPOSE 11112 11180
HEALTHCHECK --start-period=60s --interval=30s --timeout=10s \
  CMD ["/opt/hepar/bin/python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:11180/health', timeout=5)"]
ENTRYPOINT ["/opt/hepar/bin/hepar"]
CMD ["serve", "--config", "/etc/hepar/hepar.toml"]
