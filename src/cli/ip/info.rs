//! `vipkeeper ip info`: all that can be said of an address or a prefix without asking anybody.

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::input::Source;
use super::output::Format;
use crate::cli::Exit;
use crate::core::ip::info::{AddressFacts, PrefixFacts};
use crate::core::ip::scope::Scope;
use crate::core::ip::text::{parse_address, parse_prefix};

/// Tell family, forms, purpose and size of addresses and prefixes.
///
/// 'private' is RFC 1918 and RFC 4193, as Go says it; 'scope' is the smallest block of IANA's special-purpose registries
/// around the address, with the RFC that sets it apart. Of a prefix, first, last and count are those that hosts may have.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip info 192.0.2.1
  vipkeeper ip info 198.51.100.0/24 2001:db8::/32 --json

Exit codes: 0 done, 2 wrong use or a bad item, 3 the outside failed.")]
pub(super) struct Args {
    /// Addresses and prefixes; none or '-': lines of standard input.
    #[arg(value_name = "ADDR|PREFIX")]
    items: Vec<String>,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Facts {
    #[serde(flatten)]
    address: AddressFacts,
    #[serde(flatten)]
    prefix: Option<PrefixFacts>,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let mut out = self.format.printer();
        let tally = Source::new(self.items)?.each(|item| {
            let facts = if item.contains('/') { of_prefix(parse_prefix(item)?) } else { of_address(item)? };
            Ok(out.block(fields(&facts), &facts)?)
        })?;
        out.flush()?;
        Ok(tally.exit(Exit::Done))
    }
}

fn of_address(item: &str) -> Result<Facts, crate::core::ip::IpError> {
    Ok(Facts { address: AddressFacts::of(parse_address(item)?), prefix: None })
}

fn of_prefix(prefix: IpNetwork) -> Facts {
    Facts { address: AddressFacts::of(prefix.ip()), prefix: Some(PrefixFacts::of(prefix)) }
}

fn fields(facts: &Facts) -> Vec<(&'static str, String)> {
    let address = &facts.address;
    let mut fields = vec![("address", address.address.to_string()), ("family", address.family.clone())];
    if address.unmapped != address.address {
        fields.push(("unmapped", address.unmapped.to_string()));
    }
    fields.extend([
        ("private", address.private.to_string()),
        ("multicast", address.multicast.to_string()),
        ("link-local", address.link_local.to_string()),
        ("loopback", address.loopback.to_string()),
        ("scope", scope(address.scope)),
    ]);
    if let Some(prefix) = &facts.prefix {
        fields.extend([
            ("prefix", prefix.prefix.to_string()),
            ("mask", prefix.mask.to_string()),
            ("network", prefix.network.to_string()),
        ]);
        fields.extend(prefix.broadcast.map(|broadcast| ("broadcast", broadcast.to_string())));
        fields.extend(prefix.first.map(|first| ("first", first.to_string())));
        fields.extend(prefix.last.map(|last| ("last", last.to_string())));
        fields.extend([("count", prefix.count.to_string()), ("size", prefix.size.to_string())]);
    }
    fields.push(("reverse", address.reverse.clone()));
    if address.address.is_ipv6() {
        fields.push(("exploded", address.exploded.clone()));
    }
    fields.extend([
        ("hex", address.hex.clone()),
        ("decimal", address.decimal.clone()),
        ("binary", address.binary.clone()),
    ]);
    fields
}

fn scope(scope: &Scope) -> String {
    let reach = match scope.global {
        Some(true) => "globally reachable",
        Some(false) => "not globally reachable",
        None => "reach not registered",
    };
    format!("{}/{} {} ({}), {reach}", scope.network, scope.length, scope.name, scope.rfc)
}
