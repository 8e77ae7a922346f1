//! `vipkeeper ip geo`: where addresses are, by a database that the user has.

use std::path::PathBuf;

use std::net::IpAddr;

use serde::Serialize;

use super::input::Source;
use super::output::Format;
use crate::cli::Exit;
use crate::core::ip::text::parse_address;
use crate::geo::{Database, Place};

/// Tell where addresses are, from a MaxMind database.
///
/// The database (.mmdb: City, Country or ASN) is yours: its licence forbids to ship one. It is read whole.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  vipkeeper ip geo 81.2.69.143 --db GeoLite2-City.mmdb
  vipkeeper ip geo --json --db GeoLite2-ASN.mmdb < addresses.txt

Exit codes: 0 all found, 1 some have no record, 2 wrong use or a bad item, 3 the database cannot be read.")]
pub(super) struct Args {
    /// Addresses; none or '-': lines of standard input.
    #[arg(value_name = "ADDR")]
    items: Vec<String>,
    /// The database.
    #[arg(long, value_name = "FILE")]
    db: PathBuf,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Answer {
    address: IpAddr,
    place: Option<Place>,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let database = Database::open(&self.db)?;
        let mut out = self.format.printer();
        let mut exit = Exit::Done;
        let tally = Source::new(self.items)?.each(|item| {
            let address = parse_address(item)?;
            let answer = Answer { address, place: database.find(address)? };
            if answer.place.is_none() {
                exit = Exit::No;
            }
            Ok(out.block(fields(&answer), &answer)?)
        })?;
        out.flush()?;
        Ok(tally.exit(exit))
    }
}

fn fields(answer: &Answer) -> Vec<(&'static str, String)> {
    let address = ("address", answer.address.to_string());
    let Some(place) = &answer.place else { return vec![address, ("record", "none".to_owned())] };
    let country = match (&place.country, &place.country_code) {
        (Some(name), Some(code)) => Some(format!("{name} ({code})")),
        (name, code) => name.clone().or_else(|| code.clone()),
    };
    let within = place.accuracy_radius_km.map(|radius| format!(" within {radius} km")).unwrap_or_default();
    let coordinates = place.latitude.zip(place.longitude).map(|(north, east)| format!("{north}, {east}{within}"));
    let system = place.as_number.map(|number| match &place.as_organization {
        Some(organization) => format!("AS{number} {organization}"),
        None => format!("AS{number}"),
    });
    let regions = (!place.subdivisions.is_empty()).then(|| place.subdivisions.join(", "));
    let known = [
        ("city", place.city.clone()),
        ("region", regions),
        ("country", country),
        ("continent", place.continent.clone()),
        ("postal code", place.postal_code.clone()),
        ("coordinates", coordinates),
        ("time zone", place.time_zone.clone()),
        ("system", system),
    ];
    let known = known.into_iter().filter_map(|(label, text)| Some((label, text?)));
    [address, ("network", place.network.to_string())].into_iter().chain(known).collect()
}
