//! Label selectors in the shape of Kubernetes' `LabelSelector` (apimachinery, `meta/v1`), matched purely.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// What labels must be: every requirement holds. An empty selector matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// Each of these labels has this value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: Labels,
    /// Each of these holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawRequirement", into = "RawRequirement")]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// What it must be.
    pub test: Test,
}

/// What a label must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// It is there, with one of these values.
    In(BTreeSet<String>),
    /// It is absent, or has none of these values.
    NotIn(BTreeSet<String>),
    /// It is there.
    Exists,
    /// It is absent.
    DoesNotExist,
}

/// A requirement that the API server refuses too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The operator is none of the four.
    #[error("operator {0:?} of label {1:?} is unknown: In, NotIn, Exists or DoesNotExist")]
    UnknownOperator(String, String),
    /// `In` and `NotIn` without values would match nothing and everything.
    #[error("operator {0} of label {1:?} needs at least one value")]
    NoValues(&'static str, String),
    /// `Exists` and `DoesNotExist` look at no value.
    #[error("operator {0} of label {1:?} takes no values")]
    Values(&'static str, String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequirement {
    key: String,
    operator: String,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    values: BTreeSet<String>,
}

impl TryFrom<RawRequirement> for Requirement {
    type Error = SelectorError;

    fn try_from(raw: RawRequirement) -> Result<Self, Self::Error> {
        let RawRequirement { key, operator, values } = raw;
        let test = match (operator.as_str(), values.is_empty()) {
            ("In", false) => Test::In(values),
            ("NotIn", false) => Test::NotIn(values),
            ("Exists", true) => Test::Exists,
            ("DoesNotExist", true) => Test::DoesNotExist,
            ("In", true) => return Err(SelectorError::NoValues("In", key)),
            ("NotIn", true) => return Err(SelectorError::NoValues("NotIn", key)),
            ("Exists", false) => return Err(SelectorError::Values("Exists", key)),
            ("DoesNotExist", false) => return Err(SelectorError::Values("DoesNotExist", key)),
            _ => return Err(SelectorError::UnknownOperator(operator, key)),
        };
        Ok(Self { key, test })
    }
}

impl From<Requirement> for RawRequirement {
    fn from(requirement: Requirement) -> Self {
        let (operator, values) = match requirement.test {
            Test::In(values) => ("In", values),
            Test::NotIn(values) => ("NotIn", values),
            Test::Exists => ("Exists", BTreeSet::new()),
            Test::DoesNotExist => ("DoesNotExist", BTreeSet::new()),
        };
        Self { key: requirement.key, operator: operator.to_owned(), values }
    }
}

impl Selector {
    /// Whether labels meet every requirement.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }
}

impl Requirement {
    fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(yaml: &str) -> Result<Selector, String> {
        serde_yaml::from_str(yaml).map_err(|error| error.to_string())
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_operator_matches_as_kubernetes_does() {
        let none = labels(&[]);
        let a = labels(&[("rack", "a")]);
        let b = labels(&[("rack", "b"), ("edge", "true")]);
        for (yaml, expected) in [
            ("{}", [true, true, true]),
            ("{matchLabels: {rack: a}}", [false, true, false]),
            ("{matchLabels: {rack: b, edge: 'true'}}", [false, false, true]),
            ("{matchExpressions: [{key: rack, operator: In, values: [a, c]}]}", [false, true, false]),
            ("{matchExpressions: [{key: rack, operator: NotIn, values: [a]}]}", [true, false, true]),
            ("{matchExpressions: [{key: edge, operator: Exists}]}", [false, false, true]),
            ("{matchExpressions: [{key: edge, operator: DoesNotExist}]}", [true, true, false]),
            ("{matchLabels: {rack: a}, matchExpressions: [{key: edge, operator: Exists}]}", [false, false, false]),
        ] {
            let selector = selector(yaml).unwrap();
            assert_eq!([&none, &a, &b].map(|labels| selector.matches(labels)), expected, "{yaml}");
        }
    }

    #[test]
    fn what_the_api_server_refuses_is_an_error_that_names_it() {
        for (yaml, part) in [
            ("{matchExpressions: [{key: rack, operator: In}]}", "In of label \"rack\" needs"),
            ("{matchExpressions: [{key: rack, operator: Exists, values: [a]}]}", "takes no values"),
            ("{matchExpressions: [{key: rack, operator: Gt, values: [a]}]}", "\"Gt\" of label \"rack\" is unknown"),
            ("{matchLabel: {rack: a}}", "unknown field `matchLabel`"),
        ] {
            let error = selector(yaml).unwrap_err();
            assert!(error.contains(part), "{yaml}: {error}");
        }
    }

    #[test]
    fn it_writes_what_it_reads() {
        let text = "{matchLabels: {rack: a}, matchExpressions: [{key: x, operator: NotIn, values: [1a, 2b]}]}";
        let read = selector(text).unwrap();
        assert_eq!(serde_json::from_value::<Selector>(serde_json::to_value(&read).unwrap()).unwrap(), read);
    }
}
