# Orthanc with DICOMweb and the plugin, from Debian as `make stack` has it. Context: the repository.
FROM debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251
# Debian keeps one version of each, and mends it: a pin would break the build with every mend.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends orthanc orthanc-dicomweb orthanc-python curl \
 && rm -rf /var/lib/apt/lists/* /etc/orthanc/* \
 && useradd --system --uid 10002 --no-create-home archive \
 && install -d -o archive -g archive -m 700 /var/lib/archive
COPY deploy/orthanc /opt/hepar-plugin
COPY deploy/compose/orthanc.json /etc/orthanc/orthanc.json
USER 10002:10002
ENV TCP_NODELAY=1 PYTHONDONTWRITEBYTECODE=1
EXPOSE 4242 8042
# By a shell, for the password; on standard input, since a command line can be read by others.
HEALTHCHECK --start-period=20s --interval=30s --timeout=10s \
  CMD ["/bin/sh", "-c", "echo user=hepar:$HEPAR_ARCHIVE_PASSWORD | curl --config - --fail --silent --output /dev/null http://127.0.0.1:8042/hepar"]
ENTRYPOINT ["/usr/sbin/Orthanc", "/etc/orthanc/orthanc.json"]
