//! Selectors of observed objects. What a selector is and which labels it selects, [`LabelSelector`] says.

use std::fmt;

use bartizan_contract::LabelSelector;
use serde_json::{Map, Value};

/// Labels of an object, sorted by key.
pub type Labels = Vec<(String, String)>;

/// A selector that requires something. An empty one would select every object, and is `None` here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector(LabelSelector);

impl Selector {
    /// Labels that must have these values; `None` if there are none.
    pub fn of_labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let match_labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self::new(LabelSelector { match_labels, match_expressions: Vec::new() })
    }

    /// From `{matchLabels, matchExpressions}` of an object; other fields beside these are ignored. `None` if it is empty or no
    /// valid selector, as the plain map of a Service: what it means is unknown, and nothing matches.
    #[must_use]
    pub fn parse(value: &Value) -> Option<Self> {
        let field = |name: &str| Some((name.to_owned(), value.get(name).filter(|value| !value.is_null())?.clone()));
        let fields: Map<String, Value> = ["matchLabels", "matchExpressions"].into_iter().filter_map(field).collect();
        let selector: LabelSelector = serde_json::from_value(Value::Object(fields)).ok()?;
        selector.check().ok()?;
        Self::new(selector)
    }

    fn new(selector: LabelSelector) -> Option<Self> {
        (!selector.is_empty()).then_some(Self(selector))
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.matches_by(|key| labels.iter().find(|(label, _)| label == key).map(|(_, value)| value.as_str()))
    }
}

impl fmt::Display for Selector {
    /// As the API's `labelSelector` parameter takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn labels() -> Labels {
        vec![("app".to_owned(), "minio".to_owned()), ("tier".to_owned(), "a".to_owned())]
    }

    #[rstest]
    #[case::labels(json!({"matchLabels": {"app": "minio"}}), "app=minio", true)]
    #[case::other_value(json!({"matchLabels": {"app": "x"}}), "app=x", false)]
    #[case::within(json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}]}), "tier in (a,b)", true)]
    #[case::without(json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a"]}]}), "tier notin (a)", false)]
    #[case::not_in_absent(json!({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["a"]}]}), "none notin (a)", true)]
    #[case::exists(json!({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}), "tier", true)]
    #[case::missing(json!({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}), "!tier", false)]
    #[case::all_must_hold(
        json!({"matchLabels": {"app": "minio"}, "matchExpressions": [{"key": "old", "operator": "Exists"}]}), "app=minio,old", false
    )]
    fn a_selector_matches_as_kubernetes_does(#[case] value: Value, #[case] text: &str, #[case] matches: bool) {
        let selector = Selector::parse(&value).unwrap();
        assert_eq!(selector.to_string(), text);
        assert_eq!(selector.matches(&labels()), matches);
    }

    #[rstest]
    #[case::empty(json!({}))]
    #[case::null(Value::Null)]
    #[case::service_style(json!({"app": "minio"}))]
    #[case::operator(json!({"matchExpressions": [{"key": "a", "operator": "Near", "values": ["b"]}]}))]
    #[case::no_values(json!({"matchExpressions": [{"key": "a", "operator": "In"}]}))]
    #[case::number(json!({"matchLabels": {"a": 1}}))]
    fn what_selects_nothing_known_is_none(#[case] value: Value) {
        assert_eq!(Selector::parse(&value), None);
    }
}
