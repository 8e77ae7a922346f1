//! Whose an address is by the store's resources, as they change.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::internet::Internet;
use crate::support::netns::run;
use crate::support::process::VIPKEEPER;
use crate::support::wait_for;

const POOL: &str = "apiVersion: vipkeeper.dev/v1alpha1\nkind: AddressPool\nmetadata: {name: public}\n\
                    spec:\n  ranges: [198.51.100.0/24]\n  exclude: [198.51.100.1]\n";

fn vip(address: &str) -> String {
    format!(
        "apiVersion: vipkeeper.dev/v1alpha1\nkind: VirtualIP\nmetadata: {{name: web, namespace: shop}}\nspec: {{address: {address}}}\n"
    )
}

#[test]
fn an_address_is_a_virtual_ips_and_a_pools_as_the_store_says() {
    let net = Internet::new("resources");
    let store = net.file("store");
    fs::create_dir(&store).unwrap();
    fs::write(store.join("pool.yaml"), POOL).unwrap();
    fs::write(store.join("web.yaml"), vip("198.51.100.20")).unwrap();
    let _service = net.serve(&["--offline", "--client-rate", "0", "--store", &format!("dir:{}", store.display())]);
    let resources = |address: &str| -> Vec<Value> {
        let answer = net.ask(&format!("ip={address}")).json();
        answer["resources"].as_array().cloned().unwrap_or_default()
    };
    let found = wait_for(Duration::from_secs(20), "the resources", || {
        Some(resources("198.51.100.20")).filter(|r| r.len() == 2)
    });
    assert_eq!(found[0], json!({"kind": "VirtualIP", "namespace": "shop", "name": "web", "pool": "public"}));
    assert_eq!(found[1], json!({"kind": "AddressPool", "name": "public"}));
    assert_eq!(resources("198.51.100.1"), [] as [Value; 0], "excluded");
    let text = net.get("/lookup?ip=198.51.100.20").body;
    assert!(text.contains("VirtualIP: shop/web, held by nobody, of the pool public\n"), "{text}");

    let mut command = net.command(VIPKEEPER);
    command.args(["lookup", "ip", "198.51.100.20", "--offline", "--store", &format!("dir:{}", store.display())]);
    assert!(run(&mut command).contains("VirtualIP: shop/web"), "the command line reads the store by itself");

    fs::write(store.join("second.yaml"), vip("198.51.100.30").replace("web", "second")).unwrap();
    wait_for(Duration::from_secs(20), "the second VirtualIP", || (resources("198.51.100.30").len() == 2).then_some(()));
    fs::remove_file(store.join("web.yaml")).unwrap();
    wait_for(Duration::from_secs(20), "the first to go", || (resources("198.51.100.20").len() == 1).then_some(()));
}
