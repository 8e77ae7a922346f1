# The image: the static binary and nothing else. For several architectures, each compiled on this one:
#   docker build --platform linux/amd64,linux/arm64 -t vipkeeper .
# `make image` makes the same last stage from the binary of `make dist`, without a registry.
FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95-bookworm AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
RUN make dist ARCH=$TARGETARCH CARGO_TARGET_DIR=/build \
 && install -D $(ls /build/*-unknown-linux-gnu/release/vipkeeper /build/release/vipkeeper 2>/dev/null) /dist/vipkeeper

FROM scratch
COPY --from=build /dist/vipkeeper /vipkeeper
# Whoever needs capabilities, the agent, says so in its pod.
USER 65532:65532
ENTRYPOINT ["/vipkeeper"]
