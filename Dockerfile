# syntax=docker/dockerfile:1
# One static binary on an empty base. Without a system trust store it trusts the web's roots it carries; mount a CA
# bundle and name it by `ca_file` to trust others.

FROM rust:1.90-alpine3.22 AS build
# aws-lc, the TLS library's cryptography, is C and assembly.
RUN apk add --no-cache gcc make perl musl-dev linux-headers
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked && install -D target/release/edgeprobe /out/edgeprobe

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="edgeprobe" \
      org.opencontainers.image.description="A Prometheus exporter that probes HTTPS, WSS and TLS endpoints and says why a probe failed" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/edgeprobe /bin/edgeprobe
COPY config/edgeprobe.yml /etc/edgeprobe/edgeprobe.yml
USER 65534:65534
EXPOSE 9115
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/bin/edgeprobe", "healthcheck"]
ENTRYPOINT ["/bin/edgeprobe"]
CMD ["--config.file=/etc/edgeprobe/edgeprobe.yml"]
