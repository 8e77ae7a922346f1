# The image: the static binary and nothing else. For another architecture, build on it or with emulation:
#   docker build --platform linux/amd64,linux/arm64 -t vipkeeper .
# `make image` makes the same last stage from the binary of `make dist`, without a registry.
FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN make dist CARGO_TARGET_DIR=/src/target

FROM scratch
COPY --from=build /src/target/release/vipkeeper /vipkeeper
# Whoever needs capabilities, the agent, says so in its pod.
USER 65532:65532
ENTRYPOINT ["/vipkeeper"]
