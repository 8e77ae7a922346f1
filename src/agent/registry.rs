//! The node's own record, in a store where nobody else keeps one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::kind::Kind;
use crate::store::{Key, SharedStore, StoreError};

/// Makes the node's record, or gives it these labels; the name's own label (`kubernetes.io/hostname`) is always there.
///
/// # Errors
/// The store refused, or does not answer.
pub async fn register(store: &SharedStore, name: &str, labels: &BTreeMap<String, String>) -> Result<(), StoreError> {
    let mut labels: Value = json!(labels);
    labels["kubernetes.io/hostname"] = json!(name);
    loop {
        let Some(old) = store.get(Kind::Node, &Key::cluster(name)).await? else {
            let body = json!({
                "apiVersion": Kind::Node.api_version(),
                "kind": Kind::Node.name(),
                "metadata": { "name": name, "labels": labels },
                "spec": {},
            });
            match store.create(Kind::Node, body).await {
                Err(StoreError::AlreadyExists { .. }) => continue,
                result => return result.map(|_| ()),
            }
        };
        if old.body["metadata"]["labels"] == labels {
            return Ok(());
        }
        let mut body = Value::from(old.body);
        body["metadata"]["labels"] = labels.clone();
        match store.replace(Kind::Node, body).await {
            Err(StoreError::Conflict { .. } | StoreError::NotFound { .. }) => {}
            result => return result.map(|_| ()),
        }
    }
}
