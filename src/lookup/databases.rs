//! The databases of the service: makers of hardware, places, configured networks.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::files::{Files, Loaded, date, modified};
use crate::core::ip::table::Table;
use crate::core::lookup::answer::{Answer, Geo};
use crate::core::lookup::error::LookupError;
use crate::core::lookup::mac::Mac;
use crate::core::lookup::owners::{Network, parse_networks};
use crate::core::lookup::record::one_line;
use crate::core::lookup::vendor::{VendorTable, parse_ieee_csv, parse_manuf};
use crate::geo::{Database, Place};
use crate::metrics::LookupMetrics;

/// Where Debian's ieee-data keeps its files: those that its updater fetched come first.
pub const IEEE_FOLDERS: [&str; 2] = ["/var/lib/ieee-data", "/usr/share/ieee-data"];
/// The files of such a folder, and Wireshark's.
const VENDOR_FILES: [&str; 5] = ["oui.csv", "mam.csv", "oui36.csv", "iab.csv", "manuf"];

/// Which files to read.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Files or folders of makers; none: [`IEEE_FOLDERS`].
    pub vendors: Vec<PathBuf>,
    /// Geo databases; what the first says of an address counts, the others fill gaps.
    pub geo: Vec<PathBuf>,
    /// Lists of networks; where two have the same prefix the later counts.
    pub networks: Vec<PathBuf>,
}

/// A file of makers.
#[derive(Debug)]
struct VendorFile {
    name: Arc<str>,
    built: i64,
    /// `built` as a date, made once.
    date: Option<Arc<str>>,
    table: VendorTable,
}

/// All of them; see the module.
#[derive(Debug)]
pub struct Databases {
    vendors: Arc<Files<Vec<VendorFile>>>,
    geo: Arc<Files<Vec<(String, Database)>>>,
    networks: Arc<Files<Networks>>,
}

#[derive(Debug)]
struct Networks {
    table: Table<String>,
    name: String,
    built: i64,
}

impl Databases {
    /// Reads all of them.
    ///
    /// # Errors
    /// Which file is missing or is not what it should be. No file of makers at all is no error: their questions are.
    pub fn open(places: Places, metrics: &LookupMetrics) -> Result<Self, String> {
        let Places { vendors, geo, networks } = places;
        for path in vendors.iter().chain(&geo).chain(&networks) {
            std::fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let find_vendors = move || vendor_files(&vendors);
        let databases = Self {
            vendors: Arc::new(Files::open("vendors", find_vendors, load_vendors, metrics.clone())?),
            geo: Arc::new(Files::open("geo", move || geo.clone(), load_geo, metrics.clone())?),
            networks: Arc::new(Files::open("networks", move || networks.clone(), load_networks, metrics.clone())?),
        };
        if databases.vendors.current().is_empty() {
            tracing::warn!("there is no database of makers: questions about hardware addresses get 503");
        }
        Ok(databases)
    }

    /// Reads the files again as they change, until `stop`.
    pub async fn watch(&self, stop: CancellationToken) {
        tokio::join!(
            Arc::clone(&self.vendors).watch(stop.clone()),
            Arc::clone(&self.geo).watch(stop.clone()),
            Arc::clone(&self.networks).watch(stop),
        );
    }

    /// Adds who made the hardware.
    ///
    /// # Errors
    /// There is no database, or it has no maker of it and nothing else is known.
    pub fn add_vendor(&self, mac: Mac, answer: &mut Answer) -> Result<(), LookupError> {
        let files = self.vendors.current();
        let found = files.iter().filter_map(|file| Some((file, file.table.find(mac)?)));
        // Of equally long prefixes the first file's counts, so the others must be longer.
        let longest = found.reduce(|best, next| if next.1.prefix.bits() > best.1.prefix.bits() { next } else { best });
        match longest {
            Some((file, assignment)) if !assignment.is_unassigned_part() => {
                answer.set_vendor(&assignment);
                answer.add_source(Arc::clone(&file.name), file.date.clone());
                Ok(())
            }
            _ if answer.is_useful() => Ok(()),
            _ if files.is_empty() => {
                let folders = IEEE_FOLDERS.join(" or ");
                Err(LookupError::NoDatabase(format!(
                    "no database of makers is loaded: install ieee-data ({folders}), or name one with --vendors"
                )))
            }
            other => {
                let named = other.as_ref().map_or_else(|| files.first(), |(file, _)| Some(*file));
                let source =
                    named.map(|file| format!("{} of {}", file.name, file.date.as_deref().unwrap_or("no date")));
                let reason = if other.is_some() {
                    "its block is cut up, and that part of it is nobody's"
                } else {
                    "it is in no block"
                };
                let because = format!(": {reason}, by {}", source.unwrap_or_default());
                Err(LookupError::NotFound { value: answer.query.clone(), because, hops: Arc::default() })
            }
        }
    }

    /// Adds the configured networks that contain the address, and where it is said to be.
    pub fn add_places(&self, ip: IpAddr, answer: &mut Answer) {
        let networks = self.networks.current();
        answer.networks = networks
            .table
            .containing(ip)
            .map(|entry| Network { prefix: entry.prefix, name: entry.value.clone() })
            .collect();
        if !answer.networks.is_empty() {
            answer.add_source(networks.name.as_str(), date(networks.built).map(Into::into));
        }
        let mut place: Option<Geo> = None;
        for (name, database) in self.geo.current().iter() {
            let found = match database.find(ip) {
                Ok(Some(found)) => geo_of(found),
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(database = name, %error, "a record of a geo database is damaged");
                    continue;
                }
            };
            answer.add_source(name.as_str(), i64::try_from(database.built()).ok().and_then(date).map(Into::into));
            match &mut place {
                Some(place) => place.fill(found),
                None => place = Some(found),
            }
        }
        answer.geo = place.map(Box::new);
    }
}

/// The files of makers that there are now.
fn vendor_files(places: &[PathBuf]) -> Vec<PathBuf> {
    let folders = IEEE_FOLDERS.map(PathBuf::from);
    if places.is_empty() {
        // Each file from where it is newest by rule, as its packager says.
        let first = |name: &&str| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        return VENDOR_FILES.iter().filter_map(first).collect();
    }
    let expand = |place: &PathBuf| {
        if place.is_dir() {
            VENDOR_FILES.iter().map(|name| place.join(name)).filter(|path| path.is_file()).collect()
        } else {
            vec![place.clone()]
        }
    };
    places.iter().flat_map(expand).collect()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn load_vendors(paths: &[PathBuf]) -> Result<Loaded<Vec<VendorFile>>, String> {
    let mut files = Vec::new();
    for path in paths {
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        let is_csv = text.trim_start_matches('\u{feff}').starts_with("Registry,");
        let (rows, skipped) = if is_csv { parse_ieee_csv(&text) } else { parse_manuf(&text) };
        if rows.is_empty() {
            return Err(format!("{}: no assignment in it: neither IEEE CSV nor Wireshark manuf", path.display()));
        }
        if let Some((line, reason)) = skipped.first {
            tracing::warn!(file = %path.display(), count = skipped.count, first = line, reason, "lines were passed over");
        }
        let table = VendorTable::new(rows.iter().map(|(prefix, name)| (*prefix, name.as_str())));
        let built = modified(path);
        files.push(VendorFile { name: file_name(path).into(), built, date: date(built).map(Into::into), table });
    }
    let entries = files.iter().map(|file| file.table.len() as u64).sum();
    let built = files.iter().map(|file| file.built).min().unwrap_or(0);
    Ok(Loaded { value: files, entries, built })
}

fn load_geo(paths: &[PathBuf]) -> Result<Loaded<Vec<(String, Database)>>, String> {
    let mut databases = Vec::new();
    for path in paths {
        let database = Database::open(path).map_err(|error| error.to_string())?;
        databases.push((one_line(database.kind()), database));
    }
    let entries = databases.len() as u64;
    let built = databases.iter().map(|(_, database)| database.built()).min().unwrap_or(0);
    Ok(Loaded { value: databases, entries, built: i64::try_from(built).unwrap_or(0) })
}

/// A database's record as an answer has it: its texts are a stranger's.
fn geo_of(place: Place) -> Geo {
    let clean = |text: Option<String>| text.map(|text| one_line(&text));
    Geo {
        network: place.network.to_string(),
        continent: clean(place.continent),
        country_code: clean(place.country_code),
        country: clean(place.country),
        region: clean(place.subdivisions.into_iter().next()),
        city: clean(place.city),
        time_zone: clean(place.time_zone),
        latitude: place.latitude,
        longitude: place.longitude,
        as_number: place.as_number,
        as_organization: clean(place.as_organization),
    }
}

fn load_networks(paths: &[PathBuf]) -> Result<Loaded<Networks>, String> {
    let mut all = Vec::new();
    for path in paths {
        let text = String::from_utf8(read(path)?).map_err(|_| format!("{}: it is not UTF-8", path.display()))?;
        all.extend(parse_networks(&text).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    let names: Vec<String> = paths.iter().map(|path| file_name(path)).collect();
    let table = Table::new(all).map_err(|error| error.to_string())?;
    let built = paths.iter().map(|path| modified(path)).min().unwrap_or(0);
    let entries = table.entries().len() as u64;
    Ok(Loaded { value: Networks { table, name: names.join(", "), built }, entries, built })
}
