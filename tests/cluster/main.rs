//! A cluster of three kubelets on this machine, on which the chart is installed as users do: the image of the release
//! binary, default values, pods.
//!
//! `make cluster-test` runs it. Each node is a set of namespaces with its own containerd, kubelet and kube-proxy; all are
//! on one bridge, with the control plane and a client that belongs to no cluster.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod cleanliness;
mod images;
mod lab;
mod life;
mod node;
#[path = "../support/mod.rs"]
mod support;
