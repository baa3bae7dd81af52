//! The differences between two documents, a line each.

use serde_json::Value;

/// Each path at which `found` differs from `wanted`.
pub(crate) fn differences(wanted: &Value, found: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", wanted, found, &mut lines);
    lines
}

fn compare(path: &str, wanted: &Value, found: &Value, lines: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(ours), Value::Object(theirs)) => {
            let more = theirs.keys().filter(|key| !ours.contains_key(*key));
            for key in ours.keys().chain(more) {
                let below = if path.is_empty() { key.clone() } else { format!("{path} {key}") };
                compare(&below, &wanted[key], &found[key], lines);
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (one, other)) in ours.iter().zip(theirs).enumerate() {
                compare(&format!("{path}[{index}]"), one, other, lines);
            }
        }
        (one, other) if one == other => {}
        (one, other) => lines.push(format!("{path}: {other} instead of {one}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_named_by_its_path() {
        let wanted = json!({"Service/a": {"spec": {"ports": [{"port": 1}], "type": "ClusterIP"}}, "Secret/b": {}});
        let found = json!({"Service/a": {"spec": {"ports": [{"port": 2}], "type": "ClusterIP"}}, "Secret/c": 3});
        let expected = [
            "Secret/b: null instead of {}",
            "Service/a spec ports[0] port: 2 instead of 1",
            "Secret/c: 3 instead of null",
        ];
        assert_eq!(differences(&wanted, &found), expected);
        assert!(differences(&wanted, &wanted).is_empty());
    }
}
