//! The gate's table: what a person would see with `nft list table netdev vipkeeper`.
//!
//! ```text
//! set alive     { marks of segments, each with a timeout that a marked packet on its way out refreshes }
//! map claim4/6  { address : jump claim-N, accept-N or shut-N }    all addresses; N is the segment's number
//! map serve4/6  { address : jump claim-N or shut-N }              hard addresses only
//! chain refresh { a packet whose mark's upper half is ours: update alive }
//! chain ingress, egress { ARP and ND: the address that counts vmap @claim; IP: vmap @serve }
//! chain claim-N { the segment's mark is not alive: drop }    chain accept-N, shut-N { drop }
//! chain ingress-L, egress-L { base chains of link L, which jump there }
//! chain form-V-T { }    says that the table is of form V, with elements that live for T milliseconds
//! ```

use std::time::Duration;

use super::message::{Attributes, Batch, Verb};
use crate::gate::State;

/// The table's name; its family is netdev.
pub(super) const TABLE: &str = "vipkeeper";
pub(super) const ALIVE: &str = "alive";
/// Flags of a table.
pub(super) const OWNER: u32 = 2;
pub(super) const PERSIST: u32 = 4;
/// The upper half of every segment's mark.
pub(super) const MARK: u32 = 0x5656_0000;

const SEGMENT_MASK: u32 = 0xffff_0000;
/// Registers of four octets overlap those of 16; these two do not (`NFT_REG_1`, `NFT_REG_2`).
const VERDICT: u32 = 0;
const ADDRESS: u32 = 1;
const FOUND: u32 = 2;
const ETHERNET: u32 = 14;
const IPV6: u32 = 40;

/// Whether an address is looked up as one that is claimed or as one that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Map {
    Claim,
    Serve,
}

impl Map {
    /// The map's name, for addresses of so many octets.
    pub(super) const fn name(self, octets: usize) -> &'static str {
        match (self, octets) {
            (Self::Claim, 4) => "claim4",
            (Self::Claim, _) => "claim6",
            (Self::Serve, 4) => "serve4",
            (Self::Serve, _) => "serve6",
        }
    }

    /// The chain that an address in this state jumps to.
    pub(super) fn chain(self, segment: u16, state: State) -> String {
        match (self, state) {
            (Self::Claim, State::Claim) | (Self::Serve, State::Accept | State::Claim) => format!("claim-{segment}"),
            (Self::Claim, State::Accept) => format!("accept-{segment}"),
            (Self::Claim | Self::Serve, State::Shut) => format!("shut-{segment}"),
        }
    }
}

/// The form of the table; with another one, or another timeout, it is made anew.
const FORM: u32 = 1;

/// The name of the chain that says so.
pub(super) fn form(timeout: Duration) -> String {
    format!("form-{FORM}-{}", timeout.as_millis())
}

/// The segment that a mark is of.
pub(super) fn segment_of(mark: u32) -> Option<u16> {
    u16::try_from(mark ^ MARK).ok()
}

/// What a chain of the map [`Map::Claim`] says.
pub(super) fn meaning(chain: &str) -> Option<(u16, State)> {
    let (state, segment) = chain.split_once('-')?;
    let state = match state {
        "claim" => State::Claim,
        "accept" => State::Accept,
        "shut" => State::Shut,
        _ => return None,
    };
    Some((segment.parse().ok()?, state))
}

/// Makes the chains of a segment.
pub(super) fn segment(batch: Batch, segment: u16) -> Batch {
    let mark = Attributes::default().bytes(1, &(MARK | u32::from(segment)).to_ne_bytes());
    let is_dead = vec![
        expression("immediate", Attributes::default().number(1, FOUND).nest(2, mark)),
        // Inverted: the rule goes on, to its drop, when the mark is not there.
        expression("lookup", Attributes::default().text(1, ALIVE).number(2, FOUND).number(5, 1)),
        verdict(DROP, None),
    ];
    [(State::Claim, is_dead), (State::Accept, vec![verdict(DROP, None)]), (State::Shut, vec![verdict(DROP, None)])]
        .into_iter()
        .fold(batch, |batch, (state, expressions)| {
            let name = Map::Claim.chain(segment, state);
            let chain = Attributes::default().text(1, TABLE).text(3, &name);
            batch.change(Verb::NewChain, &chain).change(Verb::NewRule, &rule(&name, expressions))
        })
}

/// The table as one that only this socket changes, and that stays without an owner when the socket is closed
/// (`NFT_TABLE_F_OWNER`, `NFT_TABLE_F_PERSIST`). One without an owner that stays like this is taken over by it.
pub(super) fn own() -> Attributes {
    Attributes::default().text(1, TABLE).number(2, OWNER | PERSIST)
}

/// A batch after which there is no table of this name.
pub(super) fn no_table(name: &str) -> Batch {
    let table = Attributes::default().text(1, name);
    // Deleting wants it to be there, so it is made first.
    Batch::new().change(Verb::NewTable, &table).change(Verb::DelTable, &table)
}

/// A batch that makes the table anew, without links.
pub(super) fn table(timeout: Duration, owned: bool) -> Batch {
    let new = if owned { own() } else { Attributes::default().text(1, TABLE) };
    let mut batch = no_table(TABLE).change(Verb::NewTable, &new);
    batch = batch.change(Verb::NewSet, &set(ALIVE, 4, false));
    for map in [Map::Claim, Map::Serve] {
        for octets in [4, 16] {
            batch = batch.change(Verb::NewSet, &set(map.name(octets), octets, true));
        }
    }
    for chain in ["refresh", "ingress", "egress", &form(timeout)] {
        batch = batch.change(Verb::NewChain, &Attributes::default().text(1, TABLE).text(3, chain));
    }
    batch = batch.change(Verb::NewRule, &rule("refresh", refresh(timeout)));
    for (chain, places) in [("ingress", &INGRESS[..]), ("egress", &EGRESS[..])] {
        for place in places {
            batch = batch.change(Verb::NewRule, &rule(chain, place.expressions()));
        }
    }
    batch
}

/// A set whose elements have timeouts, or a map of verdicts.
fn set(name: &str, key: usize, map: bool) -> Attributes {
    const MAP: u32 = 0x08;
    const TIMEOUT: u32 = 0x10;
    const DYNAMIC: u32 = 0x20;
    const VERDICT: u32 = 0xffff_ff00;
    // How nft(8) shows a key: `TYPE_MARK`, `TYPE_IPADDR`, `TYPE_IP6ADDR` of libnftables.
    let shown = match (map, key) {
        (false, _) => 19,
        (true, 4) => 7,
        (true, _) => 8,
    };
    let octets = u32::try_from(key).expect("4 or 16");
    let set = Attributes::default().text(1, TABLE).text(2, name).number(4, shown).number(5, octets).number(10, 1);
    if map { set.number(3, MAP).number(6, VERDICT) } else { set.number(3, TIMEOUT | DYNAMIC) }
}

/// The base chain of a link, with its jump.
pub(super) fn base(batch: Batch, link: u32, device: &str, ingress: bool) -> Batch {
    let (target, hook) = if ingress { ("ingress", 0) } else { ("egress", 1) };
    let name = base_name(link, ingress);
    // Before other chains of the same hook.
    let priority = (-500_i32).cast_unsigned();
    let hook = Attributes::default().number(1, hook).number(2, priority).text(3, device);
    let chain = Attributes::default().text(1, TABLE).text(3, &name).nest(4, hook).text(7, "filter");
    let batch = batch.change(Verb::NewChain, &chain);
    let batch = if ingress { batch } else { batch.change(Verb::NewRule, &rule(&name, vec![jump("refresh")])) };
    batch.change(Verb::NewRule, &rule(&name, vec![jump(target)]))
}

pub(super) fn base_name(link: u32, ingress: bool) -> String {
    format!("{}-{link}", if ingress { "ingress" } else { "egress" })
}

fn rule(chain: &str, expressions: Vec<Attributes>) -> Attributes {
    Attributes::default().text(1, TABLE).text(2, chain).list(4, expressions)
}

fn expression(name: &str, data: Attributes) -> Attributes {
    Attributes::default().text(1, name).nest(2, data)
}

/// Octets of the frame from its Ethernet header on, into a register.
fn load(offset: u32, count: u32, register: u32) -> Attributes {
    expression("payload", Attributes::default().number(1, register).number(2, 0).number(3, offset).number(4, count))
}

fn is(register: u32, value: &[u8]) -> Attributes {
    let data = Attributes::default().bytes(1, value);
    expression("cmp", Attributes::default().number(1, register).number(2, 0).nest(3, data))
}

fn meta(key: u32, register: u32) -> Attributes {
    expression("meta", Attributes::default().number(1, register).number(2, key))
}

const DROP: i32 = 0;
const JUMP: i32 = -3;

/// A verdict as data (`NFTA_DATA_VERDICT`).
fn verdict_data(code: i32, chain: Option<&str>) -> Attributes {
    let verdict = Attributes::default().number(1, code.cast_unsigned());
    Attributes::default().nest(2, chain.into_iter().fold(verdict, |verdict, chain| verdict.text(2, chain)))
}

/// A jump as data.
pub(super) fn jump_data(chain: &str) -> Attributes {
    verdict_data(JUMP, Some(chain))
}

fn verdict(code: i32, chain: Option<&str>) -> Attributes {
    expression("immediate", Attributes::default().number(1, VERDICT).nest(2, verdict_data(code, chain)))
}

fn jump(chain: &str) -> Attributes {
    verdict(JUMP, Some(chain))
}

const META_PROTOCOL: u32 = 1;
const META_MARK: u32 = 3;

/// `meta mark and 0xffff0000 == MARK update @alive { meta mark timeout … }`
fn refresh(timeout: Duration) -> Vec<Attributes> {
    let timeout = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let value = |value: u32| Attributes::default().bytes(1, &value.to_ne_bytes());
    let mask = Attributes::default()
        .number(1, FOUND)
        .number(2, ADDRESS)
        .number(3, 4)
        .nest(4, value(SEGMENT_MASK))
        .nest(5, value(0));
    vec![
        meta(META_MARK, FOUND),
        expression("bitwise", mask),
        is(ADDRESS, &MARK.to_ne_bytes()),
        expression("dynset", Attributes::default().text(1, ALIVE).number(3, 1).number(4, FOUND).wide(6, timeout)),
    ]
}

/// A kind of frame, and the address in it that counts.
struct Place {
    ether_type: u16,
    /// The ICMPv6 type, for neighbour discovery.
    icmp: Option<u8>,
    at: u32,
    octets: u32,
    map: Map,
}

const fn place(ether_type: u16, icmp: Option<u8>, at: u32, octets: u32, map: Map) -> Place {
    Place { ether_type, icmp, at: ETHERNET + at, octets, map }
}

const INGRESS: [Place; 4] = [
    place(0x0806, None, 24, 4, Map::Claim),
    place(0x86dd, Some(135), IPV6 + 8, 16, Map::Claim),
    place(0x0800, None, 16, 4, Map::Serve),
    place(0x86dd, None, 24, 16, Map::Serve),
];

const EGRESS: [Place; 5] = [
    place(0x0806, None, 14, 4, Map::Claim),
    place(0x86dd, Some(135), 8, 16, Map::Claim),
    place(0x86dd, Some(136), IPV6 + 8, 16, Map::Claim),
    place(0x0800, None, 12, 4, Map::Serve),
    place(0x86dd, None, 8, 16, Map::Serve),
];

impl Place {
    fn expressions(&self) -> Vec<Attributes> {
        let mut all = vec![meta(META_PROTOCOL, ADDRESS), is(ADDRESS, &self.ether_type.to_be_bytes())];
        if let Some(icmp) = self.icmp {
            all.extend([load(ETHERNET + 6, 1, ADDRESS), is(ADDRESS, &[58])]);
            all.extend([load(ETHERNET + IPV6, 1, ADDRESS), is(ADDRESS, &[icmp])]);
        }
        let map = self.map.name(if self.octets == 4 { 4 } else { 16 });
        all.push(load(self.at, self.octets, ADDRESS));
        // An address that is not in the map ends the rule here, and the frame passes.
        let look_up = Attributes::default().text(1, map).number(2, ADDRESS).number(3, VERDICT);
        all.push(expression("lookup", look_up));
        all
    }
}
