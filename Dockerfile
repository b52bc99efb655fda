# syntax=docker/dockerfile:1
# An image of the binary alone, under 40 MB: no shell, no package manager, no C library. deploy/README.md says how to use it.

FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# What "edgecache version" says: docker build --build-arg VERSION=$(git describe --always --dirty)
ARG VERSION
RUN scripts/image-root.sh /image

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
EXPOSE 8003 7946/tcp 7946/udp
ENTRYPOINT ["/edgecache"]
CMD ["serve"]
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s CMD ["/edgecache", "health"]
