use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::kind::Kind;

const POOL: &str = "apiVersion: vipkeeper.dev/v1alpha1
kind: AddressPool
metadata: {name: public}
spec:
  ranges: [198.51.100.0/24, 2001:db8:1::10-2001:db8:1::ff]
";
const VIP: &str = "apiVersion: vipkeeper.dev/v1alpha1
kind: VirtualIP
metadata:
  name: web
  namespace: shop
spec:
  address: 198.51.100.20
  healthCheck:
    http: {port: 80}
";

fn lines(reading: &Reading) -> Vec<String> {
    reading.problems.iter().map(ToString::to_string).collect()
}

fn clean(text: &str) -> Vec<Manifest> {
    let reading = read("a.yaml", text.as_bytes());
    assert_eq!(lines(&reading), [""; 0]);
    reading.manifests
}

#[test]
fn objects_come_with_defaults_and_lines() {
    let manifests = clean(&format!("{POOL}---\n{VIP}"));
    let [pool, vip] = manifests.as_slice() else { panic!("{manifests:?}") };
    assert_eq!(pool.object.to_string(), "AddressPool public");
    assert_eq!(pool.body["spec"]["autoAssign"], json!(true));
    assert_eq!(vip.object.to_string(), "VirtualIP shop/web");
    assert_eq!(vip.body["spec"]["announce"], json!({"interval": "3s", "burst": 6}));
    assert_eq!(vip.body["spec"]["healthCheck"]["failureThreshold"], json!(3));
    assert_eq!(vip.body["spec"]["healthCheck"]["http"]["path"], json!("/"));
    assert_eq!((vip.document, vip.line("spec.address"), vip.line("spec.healthCheck.http.path")), (2, 13, 15));
    assert_eq!(vip.line("spec.announce.interval"), 12);
}

#[test]
fn the_types_read_what_is_given() {
    let manifests = clean(VIP);
    let vip: Option<crate::api::VirtualIP> =
        manifests.first().and_then(|m| serde_json::from_value(m.body.clone()).ok());
    assert_eq!(vip.and_then(|vip| vip.spec.address).as_deref(), Some("198.51.100.20"));
}

#[test]
fn an_immutable_field_is_compared_with_what_is_stored() {
    let (old, new) = (clean(VIP), clean(&VIP.replace(".20", ".21")));
    let (Some(old), Some(new)) = (old.first(), new.first()) else { panic!("no manifest") };
    assert_eq!(check_change(&old.body, old), []);
    let found: Vec<_> = check_change(&old.body, new).iter().map(ToString::to_string).collect();
    assert_eq!(
        found,
        [
            "a.yaml:7: document 1, VirtualIP shop/web: spec.address: \"198.51.100.21\": is immutable once set: make a new \
          VirtualIP and delete this one"
        ]
    );
}

#[test]
fn what_spans_objects_is_found_in_the_order_of_right() {
    let other = POOL.replace("public", "private").replace("198.51.100.0/24", "198.51.100.250-198.51.101.9");
    let third =
        POOL.replace("public", "third").replace("198.51.100.0/24, 2001:db8:1::10-2001:db8:1::ff", "198.51.101.0/29");
    let text = [POOL, VIP, &other, VIP, &VIP.replace("web", "mail"), &third].join("---\n");
    let manifests = clean(&text);
    let found: Vec<_> = clashes(&manifests).into_iter().map(|c| (c.kind, c.at, c.problem.line)).collect();
    assert_eq!(
        found,
        [(ClashKind::Duplicate, 3, Some(26)), (ClashKind::Overlap, 2, Some(21)), (ClashKind::SameAddress, 4, Some(39)),],
        "the third pool overlaps only what is refused"
    );
}

#[test]
fn ranges_of_one_pool_may_not_overlap() {
    let manifests = clean(&POOL.replace("198.51.100.0/24, ", "198.51.100.0/24, 198.51.100.255-198.51.101.1, "));
    let found: Vec<_> = clashes(&manifests).into_iter().map(|c| c.problem.to_string()).collect();
    assert_eq!(
        found,
        [
            "a.yaml:5: document 1, AddressPool public: spec.ranges[1]: \"198.51.100.255-198.51.101.1\": must not overlap \
          another range, but 198.51.100.0/24 of this pool (a.yaml:5) has addresses of it"
        ]
    );
}

fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let base = prop_oneof![Just(VIP), Just(POOL)];
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 0..12);
    (base, edits).prop_map(|(base, edits)| {
        let mut bytes = base.as_bytes().to_vec();
        for (index, byte, edit) in edits {
            let at = index.index(bytes.len());
            match edit {
                0 => bytes.insert(at, byte),
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.get_mut(at).into_iter().for_each(|b| *b = byte),
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read("x", &bytes);
    }

    #[test]
    fn no_characters_of_yaml_panic(text in "[-?:,\\[\\]{}#&*!|>'\"%@` \n\ta0.~<]{0,80}") {
        let _ = read("x", text.as_bytes());
    }

    #[test]
    fn what_is_broken_is_refused_or_still_an_object(bytes in mutated()) {
        let reading = read("x", &bytes);
        for manifest in &reading.manifests {
            let body = manifest.body.clone();
            let parsed = match manifest.object.kind {
                Kind::AddressPool => serde_json::from_value::<crate::api::AddressPool>(body).err(),
                _ => serde_json::from_value::<crate::api::VirtualIP>(body).err(),
            };
            prop_assert!(parsed.is_none(), "{parsed:?}");
        }
        let _ = clashes(&reading.manifests);
    }
}
