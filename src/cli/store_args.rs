//! The flags that say where the objects are kept: the same for every role and command.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::Failure;
use crate::metrics::{Metrics, StoreMetrics};
use crate::store::counted::{Counted, VERBS};
use crate::store::dir::Dir;
use crate::store::k8s::Kubernetes;
use crate::store::{SharedStore, StoreError};

/// Where the objects are kept.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Store")]
pub(crate) struct StoreArgs {
    /// dir:PATH for a directory of YAML on this machine, k8s for the Kubernetes API (the default in a cluster, and where
    /// a kubeconfig or a context is given)
    #[arg(long, value_name = "dir:PATH|k8s", env = "VIPKEEPER_STORE")]
    store: Option<Location>,
    /// Where dir:PATH keeps its state [default: PATH/.vipkeeper]
    #[arg(long, value_name = "PATH", env = "VIPKEEPER_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// The kubeconfig file, as for kubectl [default: $KUBECONFIG, ~/.kube/config, else the pod's service account]
    #[arg(long, value_name = "FILE", env = "VIPKEEPER_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME", env = "VIPKEEPER_CONTEXT")]
    context: Option<String>,
}

/// A kind of store and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Location {
    Dir(PathBuf),
    Kubernetes,
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("dir", path)) if !path.is_empty() => Ok(Self::Dir(path.into())),
            None if text == "k8s" => Ok(Self::Kubernetes),
            _ => Err("it must be dir:PATH (a directory of YAML) or k8s (the Kubernetes API)".to_owned()),
        }
    }
}

impl StoreArgs {
    /// Opens the store. Must be called within the runtime that will use it.
    ///
    /// # Errors
    /// Wrong use ([`super::Exit::Usage`]) if no store is given or flags contradict each other; else the store's reason.
    pub(crate) async fn open(&self) -> anyhow::Result<SharedStore> {
        match self.location()? {
            Location::Dir(path) => Ok(Arc::new(Dir::open(path, self.state_dir.as_deref())?)),
            Location::Kubernetes => {
                let store = Kubernetes::connect(self.kubeconfig.as_deref(), self.context.as_deref()).await?;
                Ok(Arc::new(store))
            }
        }
    }

    /// Whether the store is the Kubernetes API.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn is_kubernetes(&self) -> anyhow::Result<bool> {
        Ok(self.location()? == Location::Kubernetes)
    }

    /// Opens the store if a flag names one; for roles that can do without.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) async fn open_if_given(&self) -> anyhow::Result<Option<SharedStore>> {
        let given =
            self.store.is_some() || self.state_dir.is_some() || self.kubeconfig.is_some() || self.context.is_some();
        if given { self.open().await.map(Some) } else { Ok(None) }
    }

    /// Opens the store for a role, whose metrics count what is asked of it.
    ///
    /// # Errors
    /// As [`StoreArgs::open`].
    pub(crate) async fn open_counted(&self, metrics: &Metrics) -> anyhow::Result<SharedStore> {
        let store = self.open().await?;
        let results: Vec<&str> = std::iter::once("ok").chain(StoreError::CATEGORIES).collect();
        let metrics = StoreMetrics::new(metrics, &VERBS, &results);
        Ok(Arc::new(Counted::new(store, Arc::new(move |verb, result| metrics.count(verb, result)))))
    }

    fn location(&self) -> anyhow::Result<Location> {
        let kubernetes = self.kubeconfig.is_some() || self.context.is_some();
        let given = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let location = match &self.store {
            Some(location) => location.clone(),
            None if kubernetes || given("KUBERNETES_SERVICE_HOST") || given("KUBECONFIG") => Location::Kubernetes,
            None => {
                return Err(Failure::usage(
                    "--store is missing: dir:PATH for a directory of YAML, k8s for the Kubernetes API",
                ));
            }
        };
        match &location {
            Location::Dir(_) if kubernetes => {
                Err(Failure::usage("--kubeconfig and --context belong to --store k8s; the store is a directory"))
            }
            Location::Kubernetes if self.state_dir.is_some() => {
                Err(Failure::usage("--state-dir belongs to --store dir:PATH; the store is Kubernetes"))
            }
            _ => Ok(location),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_directory_or_kubernetes() {
        assert_eq!("dir:/etc/vips".parse(), Ok(Location::Dir("/etc/vips".into())));
        assert_eq!("dir:./a:b".parse(), Ok(Location::Dir("./a:b".into())));
        assert_eq!("k8s".parse(), Ok(Location::Kubernetes));
        for wrong in ["", "dir", "dir:", "k8s:", "K8S", "/etc/vips", "file:/x"] {
            assert!(wrong.parse::<Location>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn flags_of_the_other_store_are_refused() {
        let args = |store: &str, state: bool, context: bool| StoreArgs {
            store: Some(store.parse().unwrap()),
            state_dir: state.then(|| "/s".into()),
            kubeconfig: None,
            context: context.then(|| "c".to_owned()),
        };
        assert!(args("dir:/x", true, false).location().is_ok());
        assert!(args("k8s", false, true).location().is_ok());
        assert!(args("dir:/x", false, true).location().is_err());
        assert!(args("k8s", true, false).location().is_err());
    }
}
