//! Whom a member of a mesh measures: its neighbours on a ring, so that the work grows with the mesh and not its square.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

/// The `degree` members after `me` on the ring of all members in the order of the hashes of their names.
///
/// Every member is then measured by `degree` others, and one that comes or goes changes what at most `degree` members
/// do. All others if there are no more than `degree`; `me` need not be a member.
#[must_use]
pub fn neighbours<'a>(me: &'a str, members: impl IntoIterator<Item = &'a str>, degree: usize) -> Vec<&'a str> {
    let own = (place(me), me);
    let ring: BTreeSet<([u8; 32], &str)> =
        members.into_iter().filter(|member| *member != me).map(|member| (place(member), member)).collect();
    let after = ring.range(own..);
    let before = ring.range(..own);
    after.chain(before).take(degree).map(|(_, member)| *member).collect()
}

fn place(name: &str) -> [u8; 32] {
    Sha256::digest(name.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("node-{n}")).collect()
    }

    fn all(names: &[String], degree: usize) -> BTreeMap<&str, Vec<&str>> {
        names.iter().map(|me| (me.as_str(), neighbours(me, names.iter().map(String::as_str), degree))).collect()
    }

    #[test]
    fn everybody_measures_and_is_measured_by_as_many() {
        let names = names(50);
        let mesh = all(&names, 10);
        for name in &names {
            assert_eq!(mesh[name.as_str()].len(), 10);
            assert_eq!(mesh.values().filter(|others| others.contains(&name.as_str())).count(), 10);
            assert!(!mesh[name.as_str()].contains(&name.as_str()));
        }
    }

    #[test]
    fn a_small_mesh_is_full() {
        let names = names(4);
        assert!(all(&names, 10).values().all(|others| others.len() == 3));
        assert_eq!(neighbours("alone", ["alone"], 10), Vec::<&str>::new());
    }

    #[test]
    fn one_more_member_changes_little() {
        let (before, after) = (names(50), names(51));
        let (before, after) = (all(&before, 5), all(&after, 5));
        let changed = before.iter().filter(|(name, others)| after[*name] != **others).count();
        assert_eq!(changed, 5);
    }
}
