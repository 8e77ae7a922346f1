//! The bootstrap registries: from IANA or a mirror by HTTPS, or from a directory; read when first needed, and again when
//! they are old.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::Upstream;
use crate::core::lookup::bootstrap::{Kind, Registry};
use crate::core::lookup::chain::{Failure, Origin};
use crate::core::lookup::url::Url;

/// How long a registry that was fetched is used; IANA changes one a few times a year.
const FETCHED: Duration = Duration::from_secs(24 * 3600);
/// How long a registry of a directory is used, and how long a failure is remembered.
const SHORT: Duration = Duration::from_secs(60);

/// Where the registries are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Files in a directory that the operator keeps; what they name may be anywhere.
    Directory(PathBuf),
    /// Below a URL; what they name must be global.
    Url(Url),
}

impl Place {
    /// Whether servers that its registries name are the operator's word or a stranger's.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        match self {
            Self::Directory(_) => Origin::Configured,
            Self::Url(_) => Origin::Referred,
        }
    }
}

/// The registries of one place.
#[derive(Debug)]
pub struct Bootstrap {
    place: Place,
    known: Mutex<BTreeMap<Kind, Known>>,
}

#[derive(Debug)]
struct Known {
    registry: Option<Arc<Registry>>,
    failure: Option<Failure>,
    until: Instant,
}

impl Bootstrap {
    /// The registries of this place; nothing is read yet.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self { place, known: Mutex::new(BTreeMap::new()) }
    }

    /// Where they are.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// A registry; one that cannot be read again is used as it was.
    ///
    /// # Errors
    /// Why it could never be read.
    pub async fn registry(&self, kind: Kind, upstream: &Upstream) -> Result<Arc<Registry>, Failure> {
        let mut known = self.known.lock().await;
        if let Some(Known { registry, failure, until }) = known.get(&kind)
            && *until > Instant::now()
        {
            return match (registry, failure) {
                (Some(registry), _) => Ok(Arc::clone(registry)),
                (None, failure) => Err(failure.clone().unwrap_or(Failure::Timeout("the bootstrap registry"))),
            };
        }
        let old = known.remove(&kind).and_then(|known| known.registry);
        let (registry, failure, time) = match self.read(kind, upstream).await {
            Ok(registry) => {
                let time = if matches!(self.place, Place::Url(_)) { FETCHED } else { SHORT };
                (Some(Arc::new(registry)), None, time)
            }
            Err(failure) => {
                tracing::warn!(registry = kind.file(), %failure, "cannot read a bootstrap registry of RDAP");
                (old, Some(failure), SHORT)
            }
        };
        known
            .insert(kind, Known { registry: registry.clone(), failure: failure.clone(), until: Instant::now() + time });
        registry.ok_or_else(|| failure.unwrap_or(Failure::Timeout("the bootstrap registry")))
    }

    async fn read(&self, kind: Kind, upstream: &Upstream) -> Result<Registry, Failure> {
        let text = match &self.place {
            Place::Directory(path) => {
                let path = path.join(kind.file());
                tokio::fs::read(&path)
                    .await
                    .map_err(|error| Failure::Unreachable(format!("{}: {error}", path.display())))?
            }
            Place::Url(url) => {
                let answer = upstream.get(&url.join(kind.file()), Origin::Configured, "application/json").await?;
                if answer.status != 200 {
                    return Err(Failure::Garbage(format!("{}: HTTP status {}", kind.file(), answer.status)));
                }
                answer.body
            }
        };
        Registry::parse(&text).map_err(|reason| Failure::Garbage(format!("{}: {reason}", kind.file())))
    }
}
