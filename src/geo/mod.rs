//! Where an address is, from a MaxMind database (`.mmdb`) that the user supplies.
//!
//! The file is read whole, never mapped: a mapped file that is replaced or cut short kills the process. Whoever wants a
//! newer file opens it again and swaps the [`Database`]. City, country and AS number databases are read alike; what a
//! database does not say is absent. The reader bounds what a record may expand to, so a hostile file gives an error.

mod record;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use maxminddb::{MaxMindDbError, Reader};
use serde::Serialize;

/// Why a database gives no answer.
#[derive(Debug, thiserror::Error)]
pub enum GeoError {
    /// The file cannot be read.
    #[error("cannot read the geo database {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The bytes are no MaxMind database, or a damaged one.
    #[error("{} is not a MaxMind database (.mmdb)", path.display())]
    Format {
        /// The file, or what the bytes are called.
        path: PathBuf,
        /// What is wrong with it.
        source: MaxMindDbError,
    },
    /// The record of one address is damaged.
    #[error("the geo record of {address} cannot be read")]
    Record {
        /// The address asked about.
        address: IpAddr,
        /// What is wrong with the record.
        source: MaxMindDbError,
    },
}

/// What a database says of an address; names are the English ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Place {
    /// The network that the record is about.
    pub network: IpNetwork,
    /// The city.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// Regions, the largest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subdivisions: Vec<String>,
    /// The country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Its code of two letters (ISO 3166-1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country_code: Option<String>,
    /// The continent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continent: Option<String>,
    /// The postal code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    /// Degrees north, -90 to 90.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Degrees east, -180 to 180.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// Kilometres around the coordinates within which the host is with a probability of 67 %.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy_radius_km: Option<u16>,
    /// The name in the IANA time zone database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The number of the autonomous system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_number: Option<u32>,
    /// Who runs the autonomous system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_organization: Option<String>,
}

/// An open database, held in memory.
#[derive(Debug)]
pub struct Database {
    reader: Reader<Vec<u8>>,
}

impl Database {
    /// Reads a database.
    ///
    /// # Errors
    /// [`GeoError::Read`] or [`GeoError::Format`].
    pub fn open(path: &Path) -> Result<Self, GeoError> {
        let bytes = std::fs::read(path).map_err(|source| GeoError::Read { path: path.to_owned(), source })?;
        Self::from_bytes(bytes, path)
    }

    /// A database from its bytes; `name` says in errors where they come from.
    ///
    /// # Errors
    /// [`GeoError::Format`].
    pub fn from_bytes(bytes: Vec<u8>, name: &Path) -> Result<Self, GeoError> {
        let reader = Reader::from_source(bytes).map_err(|source| GeoError::Format { path: name.to_owned(), source })?;
        Ok(Self { reader })
    }

    /// What the database says of an address; `None` if it has no record, or not of this family.
    ///
    /// # Errors
    /// [`GeoError::Record`].
    pub fn find(&self, address: IpAddr) -> Result<Option<Place>, GeoError> {
        if address.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Ok(None);
        }
        let wrong = |source| GeoError::Record { address, source };
        let found = self.reader.lookup(address).map_err(wrong)?;
        let Some(record) = found.decode::<record::Record>().map_err(wrong)? else { return Ok(None) };
        Ok(Some(record.place(found.network().map_err(wrong)?)))
    }

    /// The database's name for its kind, such as `GeoLite2-City`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// When the database was built, in seconds since 1970.
    #[must_use]
    pub fn built(&self) -> u64 {
        self.reader.metadata().build_epoch
    }
}
