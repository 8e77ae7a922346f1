//! Places of addresses, from databases that the tests write themselves.

use std::path::Path;

use vipkeeper::geo::{Database, GeoError, Place};

use crate::support::mmdb;

fn cities() -> Database {
    Database::from_bytes(mmdb::cities(), Path::new("cities.mmdb")).unwrap()
}

fn find(address: &str) -> Option<Place> {
    cities().find(address.parse().unwrap()).unwrap()
}

#[test]
fn the_record_of_the_smallest_network_is_found_in_both_families() {
    let place = find("81.2.69.143").unwrap();
    assert_eq!(place.network.to_string(), "81.2.69.142/31");
    assert_eq!(place.city.as_deref(), Some("Norwich"));
    assert_eq!(place.subdivisions, ["England", "Norfolk"]);
    assert_eq!((place.country.as_deref(), place.country_code.as_deref()), (Some("United Kingdom"), Some("GB")));
    assert_eq!((place.latitude, place.longitude, place.accuracy_radius_km), (Some(52.6259), Some(1.3032), Some(100)));
    let around = find("81.2.69.1").unwrap();
    assert_eq!((around.city, around.country_code.as_deref()), (None, Some("GB")));
    let satellite = find("2001:2a0::cafe").unwrap();
    assert_eq!(
        (satellite.country.as_deref(), satellite.network.to_string().as_str()),
        (Some("Japan"), "2001:2a0::/32")
    );
    let system = find("192.0.2.1").unwrap();
    assert_eq!((system.as_number, system.as_organization.as_deref()), (Some(64_496), Some("Example")));
    assert_eq!(find("198.51.100.1"), None);
    assert_eq!(find("2001:db8::1"), None);
    assert_eq!((cities().kind(), cities().built()), ("GeoIP2-City-Test", 1_700_000_000));
}

#[test]
fn a_damaged_database_is_an_error_and_never_a_panic() {
    let whole = mmdb::cities();
    let name = Path::new("cut.mmdb");
    for length in 0..whole.len() {
        if let Ok(database) = Database::from_bytes(whole[..length].to_vec(), name) {
            let _ = database.find("81.2.69.143".parse().unwrap());
        }
    }
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0xff;
        if let Ok(database) = Database::from_bytes(flipped, name) {
            let _ = database.find("81.2.69.143".parse().unwrap());
        }
    }
    assert!(matches!(Database::from_bytes(b"no database".to_vec(), name), Err(GeoError::Format { .. })));
    assert!(matches!(Database::open(Path::new("/nowhere/db.mmdb")), Err(GeoError::Read { .. })));
}
