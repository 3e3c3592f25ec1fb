# Two stages: npm and its cache stay in the first. There is no build step: Node runs the TypeScript sources.
FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The optional dependency is Node itself, for machines with an older one. This image has the right one.
RUN npm ci --omit=dev --omit=optional && npm cache clean --force

FROM node:24-bookworm-slim
LABEL org.opencontainers.image.title="Tern" \
      org.opencontainers.image.description="The registry for ternary-compressed experts" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production \
    TERN_HOST=0.0.0.0 \
    TERN_PORT=8420 \
    TERN_STORE_URL=file:/data/store \
    TERN_INDEX_URL=sqlite:/data/index.sqlite \
    TERN_SPOOL_DIR=/data/spool
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json errors.ts LICENSE ./
COPY bin ./bin
COPY tensors ./tensors
COPY compress ./compress
COPY merge ./merge
COPY registry ./registry
COPY server ./server
COPY cli ./cli
# Listening on all interfaces needs TERN_ADMIN_TOKEN; without it the service refuses to start.
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 8420
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.TERN_PORT + '/healthz').then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# node itself is process 1, so that SIGTERM reaches the graceful stop.
CMD ["node", "bin/tern.mjs", "serve"]
