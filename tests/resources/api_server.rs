//! The same manifests against a real API server: what one object can show is refused there too, with the field named.

use crate::cases::{By, CASES, Case};
use crate::support::control_plane::ControlPlane;

#[test]
fn an_api_server_refuses_what_validate_refuses() {
    let plane = ControlPlane::start();
    plane.install_crds();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests");
    plane.run(&["apply", "-f", &format!("{examples}/pool.yaml"), "-f", &format!("{examples}/virtualip.yaml")]);
    plane.run(&["apply", "-f", &format!("{examples}/udpprobe.yaml")]);

    let refused = CASES.iter().filter(|case| case.by != By::Validate);
    let wrong: Vec<String> = refused.filter_map(|case| check(&plane, case).err()).collect();
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    an_address_stays_as_it_is(&plane);
    a_good_object_has_all_defaults(&plane);
    the_columns_read_well(&plane);
    explain_tells_of_every_field(&plane);
}

fn check(plane: &ControlPlane, case: &Case) -> Result<(), String> {
    // As kubectl does by itself since 1.27, so that an unknown field is an error.
    let output = plane.apply(case.text, &["--dry-run=server", "--validate=strict"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        return Err(format!("{}: accepted", case.name));
    }
    // An API server names a key of a map as a field, and an unknown field only by its path.
    let field = case.field.replace('[', ".").replace(']', "");
    let named = said.replace('[', ".").replace(']', "").contains(&field);
    let must_name = case.by == By::Both && case.field.starts_with("spec.");
    if named || !must_name { Ok(()) } else { Err(format!("{}: {} is not named: {said}", case.name, case.field)) }
}

fn an_address_stays_as_it_is(plane: &ControlPlane) {
    let output = plane
        .kubectl()
        .args(["patch", "vip", "web", "--type=merge", "-p", r#"{"spec":{"address":"198.51.100.21"}}"#])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("spec.address") && said.contains("immutable"), "{said}");
}

fn a_good_object_has_all_defaults(plane: &ControlPlane) {
    let stored: serde_json::Value = serde_json::from_str(&plane.run(&["get", "vip", "web", "-o", "json"])).unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/virtualip.yaml");
    let reading = vipkeeper::store::dir::walk::read_file(std::path::Path::new(file));
    assert_eq!(stored["spec"], reading.manifests[0].body["spec"], "the same defaults with and without an API server");
}

fn the_columns_read_well(plane: &ControlPlane) {
    let header = |arguments: &[&str]| {
        let text = plane.run(arguments);
        text.lines()
            .next()
            .unwrap()
            .split("  ")
            .filter(|word| !word.is_empty())
            .map(str::trim)
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(header(&["get", "vip"]), "NAME,ADDRESS,NODE,INTERFACE,READY,AGE");
    assert_eq!(header(&["get", "vip", "-o", "wide"]), "NAME,ADDRESS,NODE,INTERFACE,READY,AGE,EPOCH,LAST FAILOVER");
    assert_eq!(header(&["get", "vippool"]), "NAME,TOTAL,ALLOCATED,FREE,AUTO ASSIGN,PRIORITY,AGE");
    let all = plane.run(&["get", "vipkeeper"]);
    assert!(all.contains("virtualip.vipkeeper.dev/web") && all.contains("addresspool.vipkeeper.dev/public"), "{all}");
}

fn explain_tells_of_every_field(plane: &ControlPlane) {
    for definition in vipkeeper::api::crd::all() {
        let text = plane.run(&["explain", definition.kind.plural(), "--recursive"]);
        assert!(!text.contains("<no description>"), "{text}");
    }
    let text = plane.run(&["explain", "vip.spec.failback"]);
    assert!(
        text.contains("Whether the address moves back") && text.contains("Never") && text.contains("WhenPreferred"),
        "{text}"
    );
}
