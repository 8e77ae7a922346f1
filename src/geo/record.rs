//! A record as the databases store it; of each only what [`Place`] says.

use std::fmt;

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::Place;

/// The union of the City, Country and ASN records.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    city: Named,
    subdivisions: Vec<Named>,
    country: Named,
    registered_country: Named,
    continent: Named,
    postal: Postal,
    location: Location,
    autonomous_system_number: Option<Number>,
    autonomous_system_organization: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    names: Names,
    iso_code: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Names {
    en: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Postal {
    code: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Location {
    latitude: Option<Number>,
    longitude: Option<Number>,
    accuracy_radius: Option<Number>,
    time_zone: Option<String>,
}

/// A number of any of the format's types: makers of databases differ in which they take for a field.
#[derive(Debug, Clone, Copy)]
struct Number(f64);

impl Number {
    /// The number, if it is whole and fits.
    fn whole<T: TryFrom<u64>>(self) -> Option<T> {
        let whole = self.0.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&self.0);
        whole.then_some(self.0 as u64).and_then(|number| T::try_from(number).ok())
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyNumber;
        impl Visitor<'_> for AnyNumber {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
                Ok(Number(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Number, E> {
                u32::try_from(number).map(|number| Number(number.into())).map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                i32::try_from(number).map(|number| Number(number.into())).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(AnyNumber)
    }
}

impl Record {
    pub(super) fn place(self, network: IpNetwork) -> Place {
        // Addresses of satellite providers and the like have no country, only one where they are registered.
        let country = if self.country.names.en.is_some() { self.country } else { self.registered_country };
        Place {
            network,
            city: self.city.names.en,
            subdivisions: self.subdivisions.into_iter().filter_map(|region| region.names.en).collect(),
            country: country.names.en,
            country_code: country.iso_code,
            continent: self.continent.names.en,
            postal_code: self.postal.code,
            latitude: self.location.latitude.map(|degrees| degrees.0),
            longitude: self.location.longitude.map(|degrees| degrees.0),
            accuracy_radius_km: self.location.accuracy_radius.and_then(Number::whole),
            time_zone: self.location.time_zone,
            as_number: self.autonomous_system_number.and_then(Number::whole),
            as_organization: self.autonomous_system_organization,
        }
    }
}
