//! Who was assigned which block of hardware addresses: a table of prefixes, searched longest first.

use std::collections::BTreeMap;

use super::csv;
use super::mac::Mac;

/// The owner's name of a block that the registry itself cut into smaller ones.
const REGISTRY_ITSELF: &str = "IEEE Registration Authority";

/// Assignments of one source, compact: 12 bytes each, and every name once.
#[derive(Debug, Clone, Default)]
pub struct VendorTable {
    /// By prefix length, longest first when searched; each sorted by key.
    levels: BTreeMap<u8, Level>,
    names: String,
    spans: Vec<(u32, u32)>,
}

#[derive(Debug, Clone, Default)]
struct Level {
    /// The prefix's bits at the high end.
    keys: Vec<u64>,
    names: Vec<u32>,
}

/// What a table says about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// The assigned block.
    pub prefix: Mac,
    /// To whom; more than one only where the registry really assigned it several times.
    pub owners: Vec<&'a str>,
}

impl Assignment<'_> {
    /// Whether the block is cut into smaller ones, none of which has the address: nobody's, as far as is known.
    #[must_use]
    pub fn is_unassigned_part(&self) -> bool {
        self.owners.iter().all(|owner| owner.eq_ignore_ascii_case(REGISTRY_ITSELF))
    }
}

/// Rows that could not be read: how many, and the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Skipped {
    /// How many.
    pub count: usize,
    /// Line and reason of the first.
    pub first: Option<(usize, &'static str)>,
}

impl Skipped {
    fn add(&mut self, line: usize, reason: &'static str) {
        self.count += 1;
        self.first.get_or_insert((line, reason));
    }
}

impl VendorTable {
    /// The table of these rows, in any order; the same row twice counts once.
    pub fn new<'a>(rows: impl IntoIterator<Item = (Mac, &'a str)>) -> Self {
        let mut table = Self::default();
        let mut known: BTreeMap<&str, u32> = BTreeMap::new();
        let mut sorted: BTreeMap<u8, Vec<(u64, u32)>> = BTreeMap::new();
        for (prefix, name) in rows {
            let id = match known.get(name) {
                Some(id) => *id,
                None => {
                    let id = table.intern(name);
                    known.insert(name, id);
                    id
                }
            };
            sorted.entry(prefix.bits()).or_default().push((prefix.value(), id));
        }
        for (bits, mut rows) in sorted {
            rows.sort_unstable();
            rows.dedup();
            let (keys, names) = rows.into_iter().unzip();
            table.levels.insert(bits, Level { keys, names });
        }
        table.names.shrink_to_fit();
        table
    }

    fn intern(&mut self, name: &str) -> u32 {
        let start = self.names.len() as u32;
        self.names.push_str(name);
        self.spans.push((start, self.names.len() as u32));
        self.spans.len() as u32 - 1
    }

    fn name(&self, id: u32) -> &str {
        let (start, end) = self.spans.get(id as usize).copied().unwrap_or_default();
        self.names.get(start as usize..end as usize).unwrap_or_default()
    }

    /// How many assignments there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.levels.values().map(|level| level.keys.len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// Every assignment, shortest prefixes first.
    pub fn iter(&self) -> impl Iterator<Item = (Mac, &str)> {
        self.levels.iter().flat_map(move |(bits, level)| {
            let rows = level.keys.iter().zip(&level.names);
            rows.map(move |(key, name)| (prefix_of(*key, *bits), self.name(*name)))
        })
    }

    /// The smallest assigned block that the address is in.
    #[must_use]
    pub fn find(&self, mac: Mac) -> Option<Assignment<'_>> {
        self.levels.iter().rev().filter(|(bits, _)| **bits <= mac.bits()).find_map(|(bits, level)| {
            let key = mac.value() & mask(*bits);
            let start = level.keys.partition_point(|k| *k < key);
            let same = level.keys.get(start..)?.iter().take_while(|k| **k == key).count();
            let owners: Vec<&str> = level.names.get(start..start + same)?.iter().map(|name| self.name(*name)).collect();
            (!owners.is_empty()).then(|| Assignment { prefix: mac.truncated(*bits), owners })
        })
    }
}

fn mask(bits: u8) -> u64 {
    u64::MAX.checked_shl(64 - u32::from(bits)).unwrap_or(0)
}

fn prefix_of(key: u64, bits: u8) -> Mac {
    let [a, b, c, d, e, f, ..] = key.to_be_bytes();
    Mac::from_eui48([a, b, c, d, e, f]).truncated(bits)
}

/// The rows of an IEEE file: `Registry,Assignment,Organization Name,…` with an assignment of 6, 7 or 9 digits.
#[must_use]
pub fn parse_ieee_csv(text: &str) -> (Vec<(Mac, String)>, Skipped) {
    let mut rows = Vec::new();
    let mut skipped = Skipped::default();
    for (line, fields) in csv::records(text) {
        let [registry, assignment, name, ..] = fields.as_slice() else {
            if fields.iter().any(|field| !field.is_empty()) {
                skipped.add(line, "fewer than three fields");
            }
            continue;
        };
        if registry == "Registry" {
            continue;
        }
        match Mac::parse(assignment) {
            Ok(prefix) if matches!(assignment.len(), 6 | 7 | 9) => rows.push((prefix, one_line(name))),
            _ => skipped.add(line, "the assignment is not 6, 7 or 9 hexadecimal digits"),
        }
    }
    (rows, skipped)
}

/// The rows of a Wireshark `manuf` file: `prefix[/bits]`, a short name, a long name, separated by tabs.
///
/// The long name is preferred. Prefixes shorter than 24 bits, of which the format has some, name no maker and are left
/// out.
#[must_use]
pub fn parse_manuf(text: &str) -> (Vec<(Mac, String)>, Skipped) {
    let mut rows = Vec::new();
    let mut skipped = Skipped::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut fields = line.split('\t').map(str::trim).filter(|field| !field.is_empty());
        let prefix = fields.next().unwrap_or_default();
        let names: Vec<&str> = fields.take_while(|field| !field.starts_with('#')).collect();
        let Some(name) = names.get(1).or(names.first()) else {
            skipped.add(number + 1, "no name after a tab");
            continue;
        };
        match Mac::parse(prefix) {
            Ok(mac) if mac.bits() <= 48 => rows.push((mac, one_line(name))),
            _ => skipped.add(number + 1, "not a prefix of 24 to 48 bits"),
        }
    }
    (rows, skipped)
}

/// A name with blanks in place of line ends and controls.
fn one_line(name: &str) -> String {
    let words: Vec<&str> =
        name.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mac(text: &str) -> Mac {
        Mac::parse(text).unwrap()
    }

    const IEEE: &str = "Registry,Assignment,Organization Name,Organization Address\r\n\
        MA-L,68B599,Hewlett Packard,11445 Compaq Center Drive Houston US 77070 \r\n\
        MA-L,70B3D5,IEEE Registration Authority,445 Hoes Lane\r\n\
        MA-S,70B3D5F2F,\"TELEPLATFORMS, \"\"ltd\"\"\",Polbina st.\r\n\
        MA-M,0055DA0,\"Shinko Technos co.,ltd.\",x\r\n\
        MA-L,080030,NETWORK RESEARCH CORPORATION,x\r\n\
        MA-L,080030,CERN,x\r\n\
        MA-L,08003G,Nobody,x\r\n";

    fn table() -> VendorTable {
        let (rows, skipped) = parse_ieee_csv(IEEE);
        assert_eq!(skipped.count, 1);
        assert_eq!(skipped.first.unwrap().0, 8);
        VendorTable::new(rows.iter().map(|(prefix, name)| (*prefix, name.as_str())))
    }

    #[test]
    fn the_longest_prefix_wins() {
        let table = table();
        assert_eq!(table.len(), 6);
        let owner = |text| table.find(mac(text)).map(|found| found.owners.join(" / "));
        assert_eq!(owner("68b5.99fc.d1df").as_deref(), Some("Hewlett Packard"));
        assert_eq!(owner("70:b3:d5:f2:ff:ff").as_deref(), Some("TELEPLATFORMS, \"ltd\""));
        assert_eq!(owner("00:55:da:0f:ff:ff").as_deref(), Some("Shinko Technos co.,ltd."));
        assert_eq!(owner("08:00:30:00:00:01").as_deref(), Some("NETWORK RESEARCH CORPORATION / CERN"));
        assert_eq!(owner("00:55:da:10:00:00"), None);
        assert_eq!(owner("70:b3:d5:f2:ff:ff:00:01").as_deref(), Some("TELEPLATFORMS, \"ltd\""), "EUI-64");
    }

    #[test]
    fn a_hit_on_the_registry_itself_is_nobodys() {
        let table = table();
        assert!(table.find(mac("70:b3:d5:00:00:00")).unwrap().is_unassigned_part());
        assert!(table.find(mac("70:b3:d5")).unwrap().is_unassigned_part(), "too short to say which part");
        assert!(!table.find(mac("68b5.99fc.d1df")).unwrap().is_unassigned_part());
    }

    #[test]
    fn manuf_files_of_every_form_are_read() {
        let text = "# comment\n\
            00:00:00\t00:00:00\tOfficially Xerox, but 0:0:0:0:0:0 is more common\n\
            00:00:17\tOracle\n\
            70:B3:D5:F2:F0:00/36\tTelePlat\tTELEPLATFORMS\t# note\n\
            00-55-DA-00-00-00/28\tShinko\tShinko Technos\n\
            00-00-5E-00-01/40\tIETF-VRRP-VRID\n\
            01-00-5E/25\tIPv4mcast\n\
            rubbish\n";
        let (rows, skipped) = parse_manuf(text);
        let shown: Vec<String> = rows.iter().map(|(prefix, name)| format!("{prefix} {name}")).collect();
        assert_eq!(shown[1], "00:00:17 Oracle");
        assert_eq!(shown[2], "70:b3:d5:f2:f0/36 TELEPLATFORMS");
        assert_eq!(shown[3], "00:55:da:00/28 Shinko Technos");
        assert_eq!(shown[4], "00:00:5e:00:01 IETF-VRRP-VRID");
        assert_eq!((shown.len(), skipped.count), (5, 2));
        assert_eq!(skipped.first, Some((7, "not a prefix of 24 to 48 bits")));
    }

    proptest! {
        #[test]
        fn what_is_in_the_table_is_found(rows in prop::collection::vec((any::<[u8; 6]>(), 24u8..=48), 1..40)) {
            let names: Vec<String> = (0..rows.len()).map(|n| format!("owner {n}")).collect();
            let prefixes: Vec<Mac> = rows.iter()
                .map(|(octets, bits)| mac(&format!("{}/{bits}", Mac::from_eui48(*octets)))).collect();
            let table = VendorTable::new(prefixes.iter().copied().zip(names.iter().map(String::as_str)));
            for (octets, _) in &rows {
                let address = Mac::from_eui48(*octets);
                let found = table.find(address).unwrap();
                let longest = prefixes.iter()
                    .filter(|p| p.value() == address.value() & mask(p.bits())).map(Mac::bits).max().unwrap();
                prop_assert_eq!(found.prefix.bits(), longest);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9A-F:/\\-\\.\t,\"\n#a-z]{0,200}") {
            let _ = parse_ieee_csv(&text);
            let _ = parse_manuf(&text);
        }
    }
}
