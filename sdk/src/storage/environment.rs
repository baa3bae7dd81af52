//! Environment variables that users add to containers.

use serde_json::Value;

use crate::failure::Fault;
use crate::json::Object;

/// The faults of variables in the field `path`. A variable for which `source` returns a text cannot be set, because it is set by
/// that source.
#[must_use]
pub fn environment_faults(env: &[Object], path: &str, source: impl Fn(&str) -> Option<&'static str>) -> Vec<Fault> {
    let named = env.iter().map(|variable| variable.get("name").and_then(Value::as_str).unwrap_or_default());
    let fault = |(index, name)| {
        let source = source(name)?;
        Some(Fault::new(format!("{path}[{index}].name"), format!("must not be {name}, which is set by {source}")))
    };
    named.enumerate().filter_map(fault).collect()
}
