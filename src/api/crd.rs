//! The CustomResourceDefinitions, made from the Rust types.

use std::sync::OnceLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value};

use super::kind::Kind;
use super::{AddressPool, FailoverView, UDPProbe, VirtualIP};

/// A kind of ours and its CRD as JSON.
#[derive(Debug)]
pub struct Definition {
    /// The kind.
    pub kind: Kind,
    /// The CRD, `apiVersion` to `spec`.
    pub body: Value,
}

impl Definition {
    /// The OpenAPI schema of the kind's objects.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    }

    /// The CRD as a YAML document, without `---`.
    ///
    /// # Errors
    /// None that a value made of JSON can have.
    pub fn to_yaml(&self) -> Result<String, serde_yaml::Error> {
        serde_yaml::to_string(&self.body)
    }

    /// The name of the file that holds it in the chart.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_{}.yaml", self.kind.group(), self.kind.plural())
    }
}

/// Every CRD of ours.
#[must_use]
pub fn all() -> &'static [Definition] {
    static ALL: OnceLock<Vec<Definition>> = OnceLock::new();
    ALL.get_or_init(|| {
        vec![
            define(Kind::VirtualIP, &VirtualIP::crd()),
            define(Kind::AddressPool, &AddressPool::crd()),
            define(Kind::UDPProbe, &UDPProbe::crd()),
            define(Kind::FailoverView, &FailoverView::crd()),
        ]
    })
}

/// The CRD of a kind of ours.
#[must_use]
pub fn of(kind: Kind) -> Option<&'static Definition> {
    all().iter().find(|definition| definition.kind == kind)
}

fn define(kind: Kind, crd: &CustomResourceDefinition) -> Definition {
    // The conversion cannot fail: a CRD is made of texts, numbers and maps with texts for keys.
    let mut body = serde_json::to_value(crd).unwrap_or_default();
    if let Some(schema) = body.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        tidy(schema);
    }
    Definition { kind, body }
}

/// Removes what says nothing to an API server or says it twice: Rust's names of formats (it warns about each), bounds of
/// 0 on what has greater ones, and `nullable`, since a field that is not wanted is left out.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            tidy_fields(fields);
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn tidy_fields(fields: &mut Map<String, Value>) {
    if fields.get("nullable") == Some(&Value::Bool(true)) {
        fields.remove("nullable");
    }
    if fields.get("format").and_then(Value::as_str).is_some_and(|format| format.starts_with("uint") || format == "ip") {
        fields.remove("format");
    }
    // Bounds are whole numbers everywhere in these types; 100.0 reads worse than 100.
    for bound in ["minimum", "maximum"] {
        if let Some(value) = fields.get(bound).and_then(Value::as_f64).filter(|value| value.fract() == 0.0) {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number within 32 bits")]
            fields.insert(bound.to_owned(), Value::from(value as i64));
        }
    }
}
