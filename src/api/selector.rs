//! Label selectors, as Kubernetes has them.
#![allow(unreachable_pub, reason = "the derive repeats each struct inside a function")]

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::core::selector::{self, Test};

use super::rules::label::{self, LABEL_KEY, LABEL_VALUE_LIST, REQUIREMENT_VALUES};

/// Chooses objects by their labels; all that is said must hold. An empty selector chooses every object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Selector {
    /// Labels that the object must have, with exactly these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "label::labels_schema")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement of a selector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = &REQUIREMENT_VALUES)]
pub struct Requirement {
    /// The label's key.
    #[schemars(length(min = 1, max = 317))]
    #[x_kube(validation = &LABEL_KEY)]
    pub key: String,
    /// How the label's value relates to `values`.
    pub operator: Operator,
    /// The values; needed with In and NotIn, not allowed with Exists and DoesNotExist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 63)))]
    #[x_kube(validation = &LABEL_VALUE_LIST)]
    pub values: Vec<String>,
}

/// How a label's value relates to the values of a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Operator {
    /// The label is there and has one of the values.
    In,
    /// The label is missing or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is missing.
    DoesNotExist,
}

impl Selector {
    /// The selector as it is matched.
    ///
    /// # Errors
    /// An operator has values that it does not take, or lacks those that it needs.
    pub fn into_core(self) -> Result<selector::Selector, String> {
        let requirement = |Requirement { key, operator, values }: Requirement| {
            let test = match (operator, values.is_empty()) {
                (Operator::In, false) => Test::In(values.into_iter().collect()),
                (Operator::NotIn, false) => Test::NotIn(values.into_iter().collect()),
                (Operator::Exists, true) => Test::Exists,
                (Operator::DoesNotExist, true) => Test::DoesNotExist,
                (Operator::In | Operator::NotIn, true) => {
                    return Err(format!("operator {operator:?} of label {key:?} needs at least one value"));
                }
                (Operator::Exists | Operator::DoesNotExist, false) => {
                    return Err(format!("operator {operator:?} of label {key:?} takes no values"));
                }
            };
            Ok(selector::Requirement { key, test })
        };
        let match_expressions = self.match_expressions.into_iter().map(requirement).collect::<Result<_, _>>()?;
        Ok(selector::Selector { match_labels: self.match_labels, match_expressions })
    }
}
