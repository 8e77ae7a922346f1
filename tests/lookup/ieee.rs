//! The whole registry of the IEEE, as Debian packages it.

use std::fs;
use std::path::Path;

use vipkeeper::core::lookup::mac::Mac;
use vipkeeper::core::lookup::vendor::{VendorTable, parse_ieee_csv};

const FOLDER: &str = "/usr/share/ieee-data";
const FILES: [&str; 4] = ["oui.csv", "mam.csv", "oui36.csv", "iab.csv"];

fn text(file: &str) -> String {
    let path = Path::new(FOLDER).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}: apt-get install ieee-data", path.display()))
}

/// The assignments of a file, read apart from our own reader: Python's.
fn by_python(file: &str) -> Vec<(String, String)> {
    let script = "import csv,sys\nfor row in csv.DictReader(open(sys.argv[1],newline='',encoding='utf-8')):\n \
                  print(row['Assignment']+'\\t'+' '.join(row['Organization Name'].split()))";
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(Path::new(FOLDER).join(file))
        .output()
        .unwrap_or_else(|error| panic!("python3: {error}: apt-get install python3"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.split_once('\t').unwrap()).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

/// The same numbers in every run (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[test]
fn every_assignment_is_found_by_a_random_address_in_it() {
    let mut rows = Vec::new();
    for file in FILES {
        let (read, skipped) = parse_ieee_csv(&text(file));
        assert_eq!(skipped.count, 0, "{file}: {skipped:?}");
        rows.extend(read);
    }
    let table = VendorTable::new(rows.iter().map(|(prefix, name)| (*prefix, name.as_str())));
    let mut random = Random(1);
    let mut seen = 0;
    for file in FILES {
        for (digits, name) in by_python(file) {
            let rest = random.next();
            let mut bits = u64::from_str_radix(&digits, 16).unwrap() << (48 - 4 * digits.len());
            bits |= rest & ((1 << (48 - 4 * digits.len())) - 1);
            let [_, _, a, b, c, d, e, f] = bits.to_be_bytes();
            let address = Mac::from_eui48([a, b, c, d, e, f]);
            let found = table.find(address).unwrap_or_else(|| panic!("{address} of {digits} is not found"));
            let longer = usize::from(found.prefix.bits()) > 4 * digits.len();
            assert!(longer || found.owners.contains(&name.as_str()), "{address}: {:?}, not {name}", found.owners);
            // A longer block may only lie inside one that the registry cut up.
            assert!(!longer || name == "IEEE Registration Authority" || digits.len() == 6, "{digits} {name}");
            seen += 1;
        }
    }
    assert!(seen > 40_000, "only {seen} assignments");
}
