//! How much is asked of the API server when nothing happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt;
use serde_json::{Value, json};
use vipkeeper::api::kind::Kind;
use vipkeeper::store::Store;
use vipkeeper::store::k8s::Kubernetes;

use crate::bed::{Bed, NODES};
use crate::support::installed::Installed;
use crate::support::wait_until;

const VIPS: usize = 1_000;

/// How long is counted. The leader renews its lease every few seconds; nothing else should ask regularly.
const WINDOW: Duration = Duration::from_secs(20);

/// The most requests a second and node.
const BUDGET: f64 = 0.5;

#[test]
fn a_thousand_addresses_at_rest_ask_for_little() {
    let mut bed = Bed::running(true);
    bed.start_controller();
    make(&bed);
    let start = Instant::now();
    wait_until(Duration::from_secs(300), "all addresses to be held", || count_ready(&bed) == VIPS);
    eprintln!("{VIPS} addresses held {:?} after they were made", start.elapsed());
    bed.wait_settled();
    // The last statuses and events are under way; nothing tells when they end but that nothing comes any more.
    wait_until(Duration::from_secs(120), "the burst to end", || {
        let before = of_ours(&bed).len();
        std::thread::sleep(Duration::from_secs(2));
        of_ours(&bed).len() <= before + 4
    });
    let before = of_ours(&bed).len();
    std::thread::sleep(WINDOW);
    let all = of_ours(&bed);
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for request in &all[before..] {
        *kinds.entry(what(request)).or_default() += 1;
    }
    let refused: Vec<_> = all.iter().filter(|request| request["responseStatus"]["code"] == 403).map(what).collect();
    assert_eq!(refused, [""; 0], "the chart gives each role all rights that it uses");
    let asked = all.len() - before;
    #[allow(clippy::cast_precision_loss)]
    let rate = asked as f64 / WINDOW.as_secs_f64() / NODES.len() as f64;
    eprintln!("at rest: {asked} requests in {WINDOW:?}, {rate:.3} a second and node: {kinds:#?}");
    assert!(asked > 0, "the leader renews its lease: an audit log without that tells nothing");
    assert!(rate <= BUDGET, "{rate:.3} requests a second and node: {kinds:#?}");
}

fn make(bed: &Bed) {
    bed.control().block_on(async {
        let store = Kubernetes::connect(Some(&bed.plane.kubeconfig()), None).await.unwrap();
        let one = |at: usize| {
            let address = format!("198.51.{}.{}", 96 + at / 250, at % 250 + 1);
            let metadata = json!({"namespace": "default", "name": format!("v{at:04}")});
            store.create(
                Kind::VirtualIP,
                json!({"metadata": metadata, "spec": {"address": address, "interface": "eth0"}}),
            )
        };
        let made: Vec<_> = futures::stream::iter(0..VIPS).map(one).buffer_unordered(16).collect().await;
        assert!(made.iter().all(Result::is_ok), "{:?}", made.iter().find(|one| one.is_err()));
    });
}

fn count_ready(bed: &Bed) -> usize {
    let query = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}"#;
    let ready = bed.plane.run(&["get", "vip", "-o", query]);
    let holders = bed.plane.run(&["get", "vip", "-o", "jsonpath={.items[*].status.holder.node}"]);
    let ready = ready.split_whitespace().filter(|status| *status == "True").count();
    ready.min(holders.split_whitespace().count())
}

/// The requests of controllers and agents.
fn of_ours(bed: &Bed) -> Vec<Value> {
    let requests = bed.plane.requests().into_iter();
    requests
        .filter(|request| {
            request["user"]["username"]
                .as_str()
                .is_some_and(|user| user.starts_with("system:serviceaccount:vipkeeper:"))
        })
        .collect()
}

fn what(request: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let user = text(&request["user"]["username"]).rsplit(':').next().unwrap_or_default().to_owned();
    format!("{user} {} {}", text(&request["verb"]), text(&request["objectRef"]["resource"]))
}
