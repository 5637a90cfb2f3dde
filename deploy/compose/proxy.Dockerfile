# Proxy before the gateways and the page of a cluster. Context: the repository.
FROM debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251
# Debian keeps one version of each, and mends it: a pin would break the build with every mend.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends nginx libnginx-mod-stream \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10004 --no-create-home hepar-proxy
COPY deploy/compose/proxy.conf /srv/proxy.conf
USER 10004:10004
EXPOSE 11112 11180
HEALTHCHECK --start-period=10s --interval=30s --timeout=10s \
  CMD ["/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/11112"]
ENTRYPOINT ["/usr/sbin/nginx", "-e", "stderr", "-c", "/srv/proxy.conf"]
