//! The store: one view, changed by patches that apply as a whole or not at all.

use std::sync::Arc;

use vipkeeper::core::view::{Patch, View};

/// The view and its history.
#[derive(Debug, Clone, Default)]
pub struct Store {
    pub version: u64,
    pub view: Arc<View>,
    history: Vec<(u64, Arc<View>)>,
}

impl Store {
    pub fn new(view: View) -> Self {
        Self { version: 1, view: Arc::new(view), history: Vec::new() }
    }

    /// Applies a patch; the view before it.
    pub fn patch(&mut self, patch: &Patch) -> Option<Arc<View>> {
        let next = patch.apply(&self.view).ok()?;
        let before = std::mem::replace(&mut self.view, Arc::new(next));
        self.history.push((self.version, Arc::clone(&before)));
        self.version += 1;
        Some(before)
    }

    /// The store is restored from a backup that was made so many versions ago.
    pub fn restore(&mut self, versions: usize) {
        let at = self.history.len().saturating_sub(versions);
        if let Some((version, view)) = self.history.get(at).cloned() {
            (self.version, self.view) = (version, view);
            self.history.truncate(at);
        }
    }
}
