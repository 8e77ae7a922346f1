//! The resources of group `vipkeeper.dev/v1alpha1`, and the few kinds of Kubernetes that we read.

pub mod kind;
