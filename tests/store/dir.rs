//! The embedded store.

use std::pin::Pin;
use std::sync::Arc;

use vipkeeper::store::SharedStore;
use vipkeeper::store::dir::Dir;

use crate::contract::contract_tests;

fn with_store(test: &str, run: impl FnOnce(SharedStore, String) -> Pin<Box<dyn Future<Output = ()>>>) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store: SharedStore = Arc::new(Dir::open(folder.path(), None).unwrap());
    runtime.block_on(run(store, test.replace('_', "-").chars().take(60).collect()));
}

contract_tests!(with_store);
