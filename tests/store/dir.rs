//! The embedded store: the contract, and what only it has.

use std::sync::Arc;

use vipkeeper::store::SharedStore;
use vipkeeper::store::dir::Dir;

use crate::contract::TESTS;

#[test]
fn the_contract_holds() {
    for (name, test) in TESTS {
        eprintln!("{name}");
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let store: SharedStore = Arc::new(Dir::open(folder.path(), None).unwrap());
        runtime.block_on(test(store, "shop".to_owned()));
    }
}
