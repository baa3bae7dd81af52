//! Environment that people add to containers.

use serde_json::Value;

use crate::{Fault, Object};

/// What is wrong with variables of the field `path`: those that are `ours` cannot be set, each for its reason.
#[must_use]
pub fn environment_faults(env: &[Object], path: &str, ours: impl Fn(&str) -> Option<&'static str>) -> Vec<Fault> {
    let named = env.iter().map(|variable| variable.get("name").and_then(Value::as_str).unwrap_or_default());
    let fault = |(index, name)| {
        let why = ours(name)?;
        Some(Fault::new(format!("{path}[{index}].name"), format!("must not be {name}: it comes from {why}")))
    };
    named.enumerate().filter_map(fault).collect()
}
