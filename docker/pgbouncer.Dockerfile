# PgBouncer as Debian packages it, for docker/kubernetes/gateway-pgbouncer.yaml:
#   docker build -t pgbouncer:debian -f docker/pgbouncer.Dockerfile docker
# Debian 13 (trixie) or later: peering, which the manifest needs, came with PgBouncer 1.19.
FROM debian:trixie-slim
RUN apt-get update \
  && apt-get install --yes --no-install-recommends pgbouncer \
  && rm -rf /var/lib/apt/lists/*
USER 1000
# SIGINT: running transactions end first. SIGTERM, in some versions, cuts them off.
STOPSIGNAL SIGINT
ENTRYPOINT ["/usr/sbin/pgbouncer"]
