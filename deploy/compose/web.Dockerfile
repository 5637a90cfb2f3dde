# OHIF, DICOMweb and Orthanc's page on one origin. Context: the repository.
FROM node:22-bookworm-slim@sha256:48e4b67d85f87bd551df43704e24d252f56cc5f8e9718841aace50f19948f0f9 AS viewer
ARG OHIF=3.13.2
ARG SHA512=5997719a9986eeba85816f5924b71b82bdd70ad2e2d4a0cd3e831a798e4f3deea3e06e1f8c48e393271933a0ba664d85f3b04ac457e9abe8dde715d907d13c10
WORKDIR /src
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN npm pack --silent "@ohif/app@${OHIF}" \
 && echo "${SHA512}  ohif-app-${OHIF}.tgz" | sha512sum --check \
 && tar xzf "ohif-app-${OHIF}.tgz" --exclude='*.map' --exclude='package/dist/ort' \
      --exclude='package/dist/dicom-microscopy-viewer' package/dist

FROM debian:bookworm-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251
# Debian keeps one version of each, and mends it: a pin would break the build with every mend.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends nginx curl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10003 --no-create-home web
COPY --from=viewer /src/package/dist /srv/ohif
COPY deploy/ohif/app-config.js /srv/app-config.js
COPY deploy/nginx /srv/nginx
# The words are for sed, not for the shell.
# hadolint ignore=SC2016
RUN sed -e 's#${HEPAR_LISTEN}#8080#' -e 's#${HEPAR_ORTHANC}#http://archive:8042#' \
        -e 's#${HEPAR_APP_CONFIG}#/srv/app-config.js#' -e 's#${HEPAR_OHIF}#/srv/ohif#' \
        /srv/nginx/site.conf.template > /srv/nginx/site.conf \
 && sed -e 's#${HEPAR_SITE}#/srv/nginx/site.conf#' -e 's#${HEPAR_FOLDER}#/tmp#' \
        /srv/nginx/stack.conf.template > /srv/nginx/nginx.conf
USER 10003:10003
EXPOSE 8080
HEALTHCHECK --start-period=10s --interval=30s --timeout=10s \
  CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:8080/app-config.js"]
ENTRYPOINT ["/usr/sbin/nginx", "-e", "stderr", "-c", "/srv/nginx/nginx.conf"]
