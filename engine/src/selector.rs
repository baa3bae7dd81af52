//! Label selectors as Kubernetes evaluates them (`metav1.LabelSelector`): all of `matchLabels` and `matchExpressions` must hold.

use serde_json::Value;

/// Labels of an object, sorted by key.
pub type Labels = Vec<(String, String)>;

/// A label selector that says something: an empty one, which would match everything, is none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

impl Selector {
    /// Labels that must have these values; `None` if there are none.
    pub fn of_labels<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        let requirements: Vec<Requirement> =
            labels.into_iter().map(|(key, value)| Requirement::In(key.to_owned(), vec![value.to_owned()])).collect();
        (!requirements.is_empty()).then_some(Self { requirements })
    }

    /// From `{matchLabels, matchExpressions}`; `None` if it is empty, or is no selector: what it means is then unknown, and
    /// nothing matches.
    #[must_use]
    pub fn parse(value: &Value) -> Option<Self> {
        let mut requirements = Vec::new();
        for (key, value) in value.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            requirements.push(Requirement::In(key.clone(), vec![value.as_str()?.to_owned()]));
        }
        for expression in value.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let key = expression.get("key")?.as_str()?.to_owned();
            let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
            let values: Option<Vec<String>> = values.map(|value| value.as_str().map(str::to_owned)).collect();
            requirements.push(match (expression.get("operator")?.as_str()?, values?) {
                ("In", values) if !values.is_empty() => Requirement::In(key, values),
                ("NotIn", values) if !values.is_empty() => Requirement::NotIn(key, values),
                ("Exists", values) if values.is_empty() => Requirement::Exists(key),
                ("DoesNotExist", values) if values.is_empty() => Requirement::DoesNotExist(key),
                _ => return None,
            });
        }
        (!requirements.is_empty()).then_some(Self { requirements })
    }

    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = |key: &str| labels.iter().find(|(label, _)| label == key).map(|(_, value)| value);
        self.requirements.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => value(key).is_some_and(|value| values.contains(value)),
            Requirement::NotIn(key, values) => value(key).is_none_or(|value| !values.contains(value)),
            Requirement::Exists(key) => value(key).is_some(),
            Requirement::DoesNotExist(key) => value(key).is_none(),
        })
    }
}

impl std::fmt::Display for Selector {
    /// As kubectl and the API's `labelSelector` parameter take it: `app=minio,tier in (a,b),!old`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (position, requirement) in self.requirements.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::In(key, values) if values.len() == 1 => write!(f, "{key}={}", values.concat())?,
                Requirement::In(key, values) => write!(f, "{key} in ({})", values.join(","))?,
                Requirement::NotIn(key, values) => write!(f, "{key} notin ({})", values.join(","))?,
                Requirement::Exists(key) => f.write_str(key)?,
                Requirement::DoesNotExist(key) => write!(f, "!{key}")?,
            }
        }
        Ok(())
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
