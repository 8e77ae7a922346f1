//! What was read or written a moment ago, for the others of this process who want the same.
//!
//! Nothing here is needed: what is not kept is read from its file.

use std::collections::HashMap;
use std::sync::Arc;

use crate::api::kind::Kind;
use crate::store::Key;

/// How many texts are kept at most.
const MOST: usize = 16_384;

/// The text of a record, and its version.
pub(super) type Text = (u64, Arc<str>);
type Kept = HashMap<(Kind, Key), Text>;

/// Texts of records that somebody wanted since the last but one [`Recent::age`].
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Whether somebody calls [`Recent::age`]; else nothing is kept.
    ages: bool,
    young: Kept,
    old: Kept,
}

impl Recent {
    /// The text of an object's record, if it is kept at this version.
    pub(super) fn get(&mut self, kind: Kind, key: &Key, version: u64) -> Option<Text> {
        let place = (kind, key.clone());
        if let Some((place, text)) = self.old.remove_entry(&place) {
            self.young.entry(place).or_insert(text);
        }
        self.young.get(&place).filter(|(kept, _)| *kept == version).cloned()
    }

    /// Keeps a text, instead of an older one.
    pub(super) fn keep(&mut self, kind: Kind, key: &Key, text: &Text) {
        if self.ages && self.young.len() + self.old.len() < MOST {
            let place = (kind, key.clone());
            self.old.remove(&place);
            self.young.insert(place, text.clone());
        }
    }

    /// Forgets what nobody wanted since the last call; whether something is left.
    pub(super) fn age(&mut self) -> bool {
        self.ages = true;
        self.old = std::mem::take(&mut self.young);
        !self.old.is_empty()
    }

    /// Forgets everything of a kind.
    pub(super) fn forget(&mut self, kind: Kind) {
        self.young.retain(|(of, _), _| *of != kind);
        self.old.retain(|(of, _), _| *of != kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_for_as_long_as_it_is_wanted_and_never_in_place_of_another_version() {
        let (key, mut recent) = (Key::cluster("a"), Recent::default());
        let text: Text = (3, "{}".into());
        recent.keep(Kind::Node, &key, &text);
        assert_eq!(recent.get(Kind::Node, &key, 3), None, "nobody would forget it");
        assert!(!recent.age());
        recent.keep(Kind::Node, &key, &text);
        for _ in 0..3 {
            assert!(recent.age());
            assert_eq!(recent.get(Kind::Node, &key, 3), Some(text.clone()));
        }
        assert_eq!(recent.get(Kind::Node, &key, 4), None);
        assert_eq!(recent.get(Kind::Lease, &key, 3), None);
        assert!(recent.age() && !recent.age());
        assert_eq!(recent.get(Kind::Node, &key, 3), None);
        recent.keep(Kind::Node, &key, &text);
        recent.forget(Kind::Node);
        assert_eq!(recent.get(Kind::Node, &key, 3), None);
    }
}
