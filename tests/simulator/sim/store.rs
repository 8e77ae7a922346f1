//! The store: one view, changed by patches that apply as a whole or not at all.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use vipkeeper::core::view::{Patch, View};

/// The view and its history.
#[derive(Debug, Clone, Default)]
pub struct Store {
    pub version: u64,
    pub view: Arc<View>,
    /// The same as JSON, which is what a patch changes.
    json: Value,
    history: Vec<(u64, Arc<View>)>,
}

impl Store {
    pub fn new(view: View) -> Self {
        let json = serde_json::to_value(&view).unwrap();
        Self { version: 1, view: Arc::new(view), json, history: Vec::new() }
    }

    /// Applies a patch; the view before it.
    pub fn patch(&mut self, patch: &Patch) -> Option<Arc<View>> {
        patch.apply_to(&mut self.json).ok()?;
        let next = View::deserialize(&self.json).unwrap();
        let before = std::mem::replace(&mut self.view, Arc::new(next));
        self.history.push((self.version, Arc::clone(&before)));
        self.version += 1;
        Some(before)
    }

    /// What a cache may still have: the view of a few versions ago.
    pub fn stale(&self, versions: usize) -> Option<(u64, Arc<View>)> {
        self.history.get(self.history.len().checked_sub(versions)?).cloned()
    }

    /// The store is restored from a backup that was made so many versions ago.
    pub fn restore(&mut self, versions: usize) {
        let at = self.history.len().saturating_sub(versions);
        if let Some((version, view)) = self.history.get(at).cloned() {
            self.json = serde_json::to_value(&view).unwrap();
            (self.version, self.view) = (version, view);
            self.history.truncate(at);
        }
    }
}
