//! What `get`, `describe` and `node` share: names of kinds, a store for one question, tables and ages.

mod columns;
mod describe;
mod get;
mod node;

use std::str::FromStr;

pub(super) use self::describe::Args as DescribeArgs;
pub(super) use self::get::Args as GetArgs;
pub(super) use self::node::Args as NodeArgs;
use super::{Exit, Failure};
use crate::api::crd;
use crate::api::kind::Kind;
use crate::store::{Key, Object, SharedStore};

/// A kind by any of its names, as kubectl takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KindName(Kind);

impl FromStr for KindName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.to_ascii_lowercase();
        let wanted = wanted.strip_suffix(".vipkeeper.dev").unwrap_or(&wanted);
        let names = |definition: &crd::Definition| {
            let names = &definition.body["spec"]["names"];
            let one = [&names["singular"], &names["plural"]];
            let short = names["shortNames"].as_array().into_iter().flatten();
            one.into_iter().chain(short).filter_map(|name| name.as_str()).any(|name| name == wanted)
        };
        let found = crd::all().iter().find(|definition| names(definition));
        found
            .map(|definition| Self(definition.kind))
            .ok_or_else(|| "there are vip, vippool, udpprobe and fview".to_owned())
    }
}

/// Runs one question to the end.
fn ask<T>(question: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(question)
}

/// The key of an object that a user names.
fn key(kind: Kind, name: &str, namespace: &str) -> Key {
    if kind.namespaced() { Key::namespaced(namespace, name) } else { Key::cluster(name) }
}

/// The object, or the word and exit code that say that there is none.
async fn find(store: &SharedStore, kind: Kind, key: &Key) -> anyhow::Result<Object> {
    store.get(kind, key).await?.ok_or_else(|| {
        let resource = if kind.group().is_empty() {
            kind.plural().to_owned()
        } else {
            format!("{}.{}", kind.plural(), kind.group())
        };
        anyhow::Error::new(Failure { exit: Exit::No, message: format!("{resource} {:?} not found", key.name) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_every_name_that_kubectl_takes() {
        for name in ["vip", "virtualip", "virtualips", "VirtualIP", "virtualips.vipkeeper.dev"] {
            assert_eq!(name.parse(), Ok(KindName(Kind::VirtualIP)), "{name}");
        }
        assert_eq!("vippool".parse(), Ok(KindName(Kind::AddressPool)));
        assert_eq!("udpprobes".parse(), Ok(KindName(Kind::UDPProbe)));
        assert_eq!("fview".parse(), Ok(KindName(Kind::FailoverView)));
        assert!("pod".parse::<KindName>().is_err());
    }
}
