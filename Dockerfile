# lakebase-proxy in a container:
#   docker build --tag lakebase-proxy .                       the proxy, and nothing that it does not run
#   docker build --tag lakebase-emulator --target emulator .  the emulator, with its PostgreSQL
#
# Beside an application, in the same pod or network namespace, it needs no flags of its own:
#   docker run --network container:my-app --read-only -e DATABRICKS_HOST -e DATABRICKS_TOKEN \
#     lakebase-proxy my-instance

# A release gives it with its digest (CONTRIBUTING.md); here the tag brings security fixes.
ARG BASE=node:24-slim

FROM ${BASE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY src src
RUN npm run build

FROM ${BASE} AS production
WORKDIR /app
COPY package.json package-lock.json ./
# The optional peer (the emulator's PostgreSQL) counts as both: without all three it comes along.
RUN npm ci --no-audit --no-fund --ignore-scripts --omit=dev --omit=optional --omit=peer

FROM build AS emulator
USER node
ENTRYPOINT ["node", "build/bundle/main.js", "emulator"]

FROM ${BASE} AS proxy
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="lakebase-proxy" \
  org.opencontainers.image.description="PostgreSQL clients to Databricks Lakebase, with no token to paste" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.base.name="node:24-slim"
WORKDIR /app
COPY --from=production /app/node_modules node_modules
COPY --from=build /app/build/bundle build/bundle
COPY src/observe/page src/observe/page
COPY package.json LICENSE ./
RUN chmod 755 build/bundle/main.js && ln -s /app/build/bundle/main.js /usr/local/bin/lakebase-proxy
# NODE_ENV is for libraries. Said here, the admin port is one that must be free: it does not move
# away from the health check, as a default one would.
ENV NODE_ENV=production LAKEBASE_PROXY_ADMIN_PORT=9090
# By number, so that Kubernetes can see that it is not root.
USER 1000
EXPOSE 5432 9090
# With another --admin-address or --admin-port (given as a flag), or --no-admin: --no-healthcheck.
# With --admin-socket also: -e LAKEBASE_PROXY_ADMIN_PORT=
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["node", "-e", \
  "fetch(`http://127.0.0.1:${process.env.LAKEBASE_PROXY_ADMIN_PORT}/liveness`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["lakebase-proxy"]
