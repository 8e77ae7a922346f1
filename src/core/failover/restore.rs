//! A view that is older than one seen: the store was restored from a backup.

use std::sync::Arc;

use super::Failover;
use super::rules::Rule;
use crate::core::time::Time;
use crate::core::view::View;

impl Failover {
    /// Whether this version of the view comes before the one known: its version went back in a read past all caches, or
    /// its counter, which never does.
    pub(super) fn is_older(&self, version: u64, view: &View, fresh: bool) -> bool {
        let back = view.counter < self.view.counter || (fresh && version < self.version);
        self.read && back && self.rules.has(Rule::RefuseOldView) && (fresh || version > self.version)
    }

    pub(super) fn restore(&mut self, _now: Time, _version: u64, _view: &Arc<View>, _fresh: bool) {}
}
