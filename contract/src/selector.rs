//! Label selectors with the semantics of Kubernetes.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::field::{DNS_SUBDOMAIN_LENGTH, FieldError, is_dns_subdomain};

/// The labels that an object must have. Empty: any object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct LabelSelector {
    /// Labels with the values that they must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements, all of which must be met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// A requirement of one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
    "message": "In and NotIn need at least one value, Exists and DoesNotExist take none",
}]))]
pub struct LabelRequirement {
    /// The key of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How the label is compared with the values.
    pub operator: LabelOperator,
    /// The values of In and NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = LABEL_LENGTH)))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// The label exists with one of the values.
    In,
    /// The label is absent, or has none of the values.
    NotIn,
    /// The label exists.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// The maximum length of a label's value, and of its key after the prefix.
const LABEL_LENGTH: usize = 63;

impl LabelSelector {
    /// Checks the selector as the API server would. Paths begin at the selector.
    ///
    /// # Errors
    /// The first invalid field.
    pub fn check(&self) -> Result<(), FieldError> {
        for (key, value) in &self.match_labels {
            check_key("matchLabels", key)?;
            check_value("matchLabels", value)?;
        }
        for (index, requirement) in self.match_expressions.iter().enumerate() {
            requirement.check(&format!("matchExpressions[{index}]"))?;
        }
        Ok(())
    }

    /// Whether it requires nothing, and so selects every object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Whether an object with these labels is selected. Meaningful only if [`check`](Self::check) succeeds: Kubernetes would refuse
    /// the selector otherwise.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_by(|key| labels.get(key).map(String::as_str))
    }

    /// The same, for labels in any other form: `value` returns the value of a label, if the object has it.
    #[must_use]
    pub fn matches_by<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.match_labels.iter().all(|(key, wanted)| value(key) == Some(wanted))
            && self.match_expressions.iter().all(|requirement| requirement.matches(value(&requirement.key)))
    }
}

impl fmt::Display for LabelSelector {
    /// As kubectl and the API's `labelSelector` parameter take it: `app=minio,tier in (a,b),!old`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (key, value) in &self.match_labels {
            write!(f, "{separator}{key}={value}")?;
            separator = ",";
        }
        for requirement in &self.match_expressions {
            write!(f, "{separator}{requirement}")?;
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Display for LabelRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, operator, values } = self;
        match (operator, values.as_slice()) {
            (LabelOperator::In, [value]) => write!(f, "{key}={value}"),
            (LabelOperator::In, values) => write!(f, "{key} in ({})", values.join(",")),
            (LabelOperator::NotIn, values) => write!(f, "{key} notin ({})", values.join(",")),
            (LabelOperator::Exists, _) => f.write_str(key),
            (LabelOperator::DoesNotExist, _) => write!(f, "!{key}"),
        }
    }
}

impl LabelRequirement {
    fn check(&self, path: &str) -> Result<(), FieldError> {
        check_key(&format!("{path}.key"), &self.key)?;
        let values = format!("{path}.values");
        match self.operator {
            LabelOperator::In | LabelOperator::NotIn if self.values.is_empty() => {
                Err(FieldError::new(values, format!("{:?} needs at least one value", self.operator)))
            }
            LabelOperator::Exists | LabelOperator::DoesNotExist if !self.values.is_empty() => {
                Err(FieldError::new(values, format!("{:?} takes no values", self.operator)))
            }
            _ => self
                .values
                .iter()
                .enumerate()
                .try_for_each(|(index, value)| check_value(&format!("{values}[{index}]"), value)),
        }
    }

    fn matches(&self, found: Option<&str>) -> bool {
        let among = |found: &str| self.values.iter().any(|value| value == found);
        match self.operator {
            LabelOperator::In => found.is_some_and(among),
            LabelOperator::NotIn => !found.is_some_and(among),
            LabelOperator::Exists => found.is_some(),
            LabelOperator::DoesNotExist => found.is_none(),
        }
    }
}

fn check_key(path: &str, key: &str) -> Result<(), FieldError> {
    let (prefix, name) = key.rsplit_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if prefix.is_none_or(is_dns_subdomain) && !name.is_empty() && is_label_text(name) {
        return Ok(());
    }
    Err(FieldError::new(
        path,
        format!(
            "\"{key}\" is not the key of a label: up to {LABEL_LENGTH} letters, digits, '-', '_' and '.', a letter or digit \
             at both ends, with a DNS subdomain of up to {DNS_SUBDOMAIN_LENGTH} characters and '/' before it or not"
        ),
    ))
}

fn check_value(path: &str, value: &str) -> Result<(), FieldError> {
    if is_label_text(value) {
        return Ok(());
    }
    Err(FieldError::new(
        path,
        format!(
            "\"{value}\" is not the value of a label: up to {LABEL_LENGTH} letters, digits, '-', '_' and '.', a letter or \
             digit at both ends, or nothing"
        ),
    ))
}

fn is_label_text(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    let outer = |c: Option<&u8>| c.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= LABEL_LENGTH && bytes.iter().copied().all(inner) && outer(bytes.first()) && outer(bytes.last())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn selector(value: Value) -> LabelSelector {
        serde_json::from_value(value).unwrap()
    }

    fn one(operator: &str, values: &[&str]) -> LabelSelector {
        selector(json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]}))
    }

    #[rstest]
    #[case(json!({}), json!({}), true)]
    #[case(json!({}), json!({"tier": "gold"}), true)]
    #[case(json!({"matchLabels": {"tier": "gold"}}), json!({"tier": "gold", "other": "x"}), true)]
    #[case(json!({"matchLabels": {"tier": "gold"}}), json!({"tier": "tin"}), false)]
    #[case(json!({"matchLabels": {"tier": "gold"}}), json!({}), false)]
    #[case(json!({"matchLabels": {"tier": ""}}), json!({}), false)]
    #[case(json!({"matchLabels": {"tier": "gold", "zone": "a"}}), json!({"tier": "gold"}), false)]
    #[case(
        json!({"matchLabels": {"zone": "a"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}),
        json!({"tier": "gold"}), false
    )]
    fn all_labels_must_match(#[case] wanted: Value, #[case] labels: Value, #[case] matches: bool) {
        let labels = serde_json::from_value(labels).unwrap();
        assert_eq!(selector(wanted).matches(&labels), matches);
    }

    #[rstest]
    #[case("In", &["gold", "tin"], [true, false, false])]
    #[case("In", &[""], [false, false, true])]
    #[case("NotIn", &["gold", "tin"], [false, true, true])]
    #[case("Exists", &[], [true, false, true])]
    #[case("DoesNotExist", &[], [false, true, false])]
    fn operators_mean_what_they_mean_in_kubernetes(
        #[case] operator: &str,
        #[case] values: &[&str],
        #[case] gold_absent_empty: [bool; 3],
    ) {
        let selector = one(operator, values);
        assert_eq!(selector.check(), Ok(()));
        let labels = |value: &str| BTreeMap::from([("tier".to_owned(), value.to_owned())]);
        let found = [labels("gold"), BTreeMap::new(), labels("")].map(|labels| selector.matches(&labels));
        assert_eq!(found, gold_absent_empty);
    }

    #[rstest]
    #[case(one("In", &[]), "matchExpressions[0].values: In needs at least one value")]
    #[case(one("NotIn", &[]), "matchExpressions[0].values: NotIn needs at least one value")]
    #[case(one("Exists", &["gold"]), "matchExpressions[0].values: Exists takes no values")]
    #[case(one("DoesNotExist", &["gold"]), "matchExpressions[0].values: DoesNotExist takes no values")]
    #[case(
        one("In", &["gold", "-"]),
        "matchExpressions[0].values[1]: \"-\" is not the value of a label: up to 63 letters, digits, '-', '_' and '.', a \
         letter or digit at both ends, or nothing"
    )]
    #[case(
        selector(json!({"matchExpressions": [{"key": "a b", "operator": "Exists"}]})),
        "matchExpressions[0].key: \"a b\" is not the key of a label: up to 63 letters, digits, '-', '_' and '.', a letter or \
         digit at both ends, with a DNS subdomain of up to 253 characters and '/' before it or not"
    )]
    #[case(
        selector(json!({"matchLabels": {"Example.com/tier": "gold"}})),
        "matchLabels: \"Example.com/tier\" is not the key of a label: up to 63 letters, digits, '-', '_' and '.', a letter or \
         digit at both ends, with a DNS subdomain of up to 253 characters and '/' before it or not"
    )]
    #[case(
        selector(json!({"matchLabels": {"example.com/tier": "a b"}})),
        "matchLabels: \"a b\" is not the value of a label: up to 63 letters, digits, '-', '_' and '.', a letter or digit at \
         both ends, or nothing"
    )]
    fn what_kubernetes_refuses_is_refused(#[case] selector: LabelSelector, #[case] expected: &str) {
        assert_eq!(selector.check().map_err(|error| error.to_string()), Err(expected.to_owned()));
    }
}
