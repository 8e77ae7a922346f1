//! Which address each `VirtualIP` gets, as one pure function of all pools and all claims.
//!
//! [`allocate`] works in order of right: who has an address keeps it (if two say that they have the same, the one that a
//! node may be claiming it for, then the older); then explicit wishes; then automatic ones, the older first. Whoever gets
//! nothing has an [`AllocateError`] that says why. An address in use is never changed under its user: where pools or
//! wishes no longer agree with it, it is kept and the disagreement reported beside it.

mod allocate;
mod count;
mod range;
mod space;

use std::collections::BTreeMap;
use std::net::IpAddr;

pub use self::allocate::allocate;
pub use self::count::Count;
pub use self::range::{Family, Range, RangeError};
pub use self::space::Space;
use super::selector::{Labels, Selector};

/// The label that every namespace has, with its own name as the value.
pub const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// Addresses to give out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub uid: String,
    /// When it was first seen; any unit, of two pools that overlap the older works.
    pub created: i64,
    /// Its addresses.
    pub space: Space,
    /// Whether claims that name no pool may use it.
    pub auto_assign: bool,
    /// Higher is asked first.
    pub priority: i32,
    /// For which namespaces; `None` for all.
    pub namespaces: Option<Selector>,
    /// For which Services; `None` for all, and for claims that are no Service's.
    pub services: Option<Selector>,
    /// Whether it is being deleted: it gives out nothing more.
    pub deleting: bool,
}

/// A `VirtualIP` that wants an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claim {
    /// Its identity.
    pub uid: String,
    /// `namespace/name`, for people.
    pub name: String,
    /// When it was first seen; ties are broken by uid.
    pub created: i64,
    /// The labels of its namespace, [`NAMESPACE_LABEL`] among them.
    pub namespace: Labels,
    /// The labels of the Service that it belongs to.
    pub service: Option<Labels>,
    /// The address that it asks for.
    pub address: Option<IpAddr>,
    /// The pool that it asks for.
    pub pool: Option<String>,
    /// The family that it asks for.
    pub family: Option<Family>,
    /// The address that it was given before.
    pub held: Option<IpAddr>,
    /// Whether a node may claim `held`, so that it cannot change.
    pub bound: bool,
    /// Whether it is being deleted: it keeps what it has and gets nothing more.
    pub deleting: bool,
}

/// An address that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocation {
    /// The address.
    pub address: IpAddr,
    /// The pool that it counts in, if any does.
    pub pool: Option<String>,
    /// Why it would not be given again: the pool has gone or shrunk, the wish has changed. It is kept all the same.
    pub despite: Option<AllocateError>,
}

/// Why no address was given, or why one is kept only because it is in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocateError {
    /// The pool that is named does not exist.
    #[error("there is no AddressPool {pool}")]
    PoolMissing {
        /// Its name.
        pool: String,
    },
    /// The pool that is named gives out nothing: it overlaps an older one, or is being deleted.
    #[error("AddressPool {pool} gives out no addresses: {why}")]
    PoolUnusable {
        /// Its name.
        pool: String,
        /// What keeps it.
        why: PoolFault,
    },
    /// No pool assigns automatically and selects this claim.
    #[error("no AddressPool with autoAssign selects it and has the family")]
    NoPool,
    /// Every address is taken.
    #[error("no address is free in {}", pools.join(", "))]
    PoolExhausted {
        /// The pools that were asked, in order.
        pools: Vec<String>,
    },
    /// The address is not among those of the pool.
    #[error("{address} is not in AddressPool {pool}")]
    NotInPool {
        /// The address.
        address: IpAddr,
        /// The pool that is named.
        pool: String,
    },
    /// No pool has the address that was given automatically, any more.
    #[error("{address} is in no AddressPool any more")]
    OutsidePools {
        /// The address.
        address: IpAddr,
    },
    /// The pool is for other namespaces or Services.
    #[error("AddressPool {pool} does not select it")]
    NotSelected {
        /// The pool.
        pool: String,
    },
    /// An older claim, or one that has it already, uses the address.
    #[error("{address} is used by {by}")]
    InUse {
        /// The address.
        address: IpAddr,
        /// `namespace/name` of the user.
        by: String,
    },
    /// The address or the pool is of the other family.
    #[error("{of} is not {family}, which ipFamily asks for")]
    FamilyMismatch {
        /// The address or the pool.
        of: String,
        /// The family asked for.
        family: Family,
    },
    /// Another address is asked for than the one that a node holds.
    #[error("a node holds another address: delete and create the VirtualIP to have {wanted}")]
    AddressChanged {
        /// The address asked for.
        wanted: IpAddr,
    },
    /// It is being deleted.
    #[error("it is being deleted")]
    Deleting,
}

impl AllocateError {
    /// A word in UpperCamelCase that does not change between versions, for conditions and events.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::PoolMissing { .. } => "PoolMissing",
            Self::PoolUnusable { .. } => "PoolUnusable",
            Self::NoPool => "NoPool",
            Self::PoolExhausted { .. } => "PoolExhausted",
            Self::NotInPool { .. } => "NotInPool",
            Self::OutsidePools { .. } => "OutsidePools",
            Self::NotSelected { .. } => "NotSelected",
            Self::InUse { .. } => "InUse",
            Self::FamilyMismatch { .. } => "FamilyMismatch",
            Self::AddressChanged { .. } => "AddressChanged",
            Self::Deleting => "Deleting",
        }
    }
}

/// Why a pool gives out nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum PoolFault {
    /// It shares addresses with an older pool.
    #[error("it overlaps AddressPool {with}, which is older")]
    Overlaps {
        /// The older pool.
        with: String,
    },
    /// It is being deleted.
    #[error("it is being deleted")]
    Deleting,
}

impl PoolFault {
    /// A word in UpperCamelCase that does not change between versions.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Overlaps { .. } => "Overlaps",
            Self::Deleting => "Deleting",
        }
    }
}

/// How much of a pool is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolUse {
    /// All its addresses.
    pub total: Count,
    /// Those in use, whoever asked for them and however.
    pub used: u64,
    /// The others.
    pub free: Count,
    /// Why it gives out nothing.
    pub fault: Option<PoolFault>,
}

/// Who has what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    /// What became of each claim, by uid.
    pub claims: BTreeMap<String, Result<Allocation, AllocateError>>,
    /// The pools by name.
    pub pools: BTreeMap<String, PoolUse>,
}

#[cfg(test)]
mod tests;
