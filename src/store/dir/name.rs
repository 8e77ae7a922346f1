//! The names of version files: `NAMESPACE.NAME@VERSION.json`, or `NAME@VERSION.json` for a cluster-scoped kind.
//!
//! A namespace has no dot, so the first dot ends it; no name of Kubernetes has an `@`.

use crate::api::kind::Kind;
use crate::api::rules::name::{is_label, is_subdomain};
use crate::store::Key;

/// The longest key in bytes: with `@`, twenty digits and `.json` it is still a file name (NAME_MAX is 255).
const LONGEST: usize = 255 - "@18446744073709551615.json".len();

/// The folder of a kind below the state folder.
pub(super) const fn folder(kind: Kind) -> &'static str {
    match kind {
        Kind::FailoverView => "views",
        Kind::Secret => "key",
        other => other.plural(),
    }
}

/// The name of an object's files, without their version: what stands before the `@`.
pub(super) fn stem(key: &Key) -> String {
    match &key.namespace {
        Some(namespace) => format!("{namespace}.{}", key.name),
        None => key.name.clone(),
    }
}

/// The name of a version's file.
pub(super) fn version_file(key: &Key, version: u64) -> String {
    format!("{}@{version}.json", stem(key))
}

/// What a file's name says; `None` if it is none of ours.
pub(super) fn parse(kind: Kind, file: &str) -> Option<(Key, u64)> {
    let (stem, version) = file.strip_suffix(".json")?.rsplit_once('@')?;
    let version = version.parse().ok()?;
    let key = if kind.namespaced() {
        let (namespace, name) = stem.split_once('.')?;
        Key::namespaced(namespace, name)
    } else {
        Key::cluster(stem)
    };
    Some((key, version))
}

/// Why a key cannot be an object of this kind: the field, its value and what would be right.
pub(super) fn fault(kind: Kind, key: &Key) -> Option<String> {
    match &key.namespace {
        None if kind.namespaced() => return Some("metadata.namespace is missing".to_owned()),
        Some(namespace) if !kind.namespaced() => {
            return Some(format!("metadata.namespace is {namespace:?}: the kind has no namespaces, leave it out"));
        }
        Some(namespace) if !is_label(namespace) => {
            return Some(format!(
                "metadata.namespace is {namespace:?}: it must be at most 63 lower-case letters, digits and '-', with a \
                 letter or digit at both ends"
            ));
        }
        _ => {}
    }
    if !is_subdomain(&key.name) {
        return Some(format!(
            "metadata.name is {:?}: it must be at most 253 lower-case letters, digits, '-' and '.', with a letter or \
             digit at both ends and around each '.'",
            key.name
        ));
    }
    let length = stem(key).len();
    (length > LONGEST).then(|| {
        format!(
            "metadata.name: namespace and name together have {length} characters; a directory store takes {LONGEST}"
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_is_read_back(namespace in "[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", name in "[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", version: u64) {
            let key = Key::namespaced(namespace, name);
            let file = version_file(&key, version);
            prop_assert_eq!(parse(Kind::VirtualIP, &file), Some((key, version)));
        }

        #[test]
        fn no_name_leaves_its_folder(name in "\\PC{0,40}") {
            let key = Key::cluster(name);
            if fault(Kind::Node, &key).is_none() {
                let file = version_file(&key, 1);
                prop_assert!(!file.contains('/') && !file.starts_with('.') && file.len() <= 255, "{}", file);
            }
        }
    }

    #[test]
    fn paths_and_lengths_are_refused() {
        for name in ["", ".", "..", "../x", "a/b", "-a", "a-", "a..b", "A", "a@1", "a\0", &"x".repeat(254)] {
            assert!(fault(Kind::Node, &Key::cluster(name)).is_some(), "{name:?}");
        }
        assert!(fault(Kind::Node, &Key::cluster("x".repeat(230))).is_some(), "too long for a file name");
        assert!(fault(Kind::Node, &Key::cluster("rack-a.node-1")).is_none());
    }
}
