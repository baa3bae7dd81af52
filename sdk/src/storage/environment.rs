//! Environment variables that users add to containers.

use serde_json::Value;

use crate::failure::Fault;
use crate::json::Object;

/// The faults of variables in the field `path`: names and values that are no strings, and names that occur twice, which the API
/// server could not apply. A variable for which `source` returns a text cannot be set, because it is set by that source.
#[must_use]
pub fn environment_faults(env: &[Object], path: &str, source: impl Fn(&str) -> Option<&'static str>) -> Vec<Fault> {
    let name = |variable: &Object| variable.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let names: Vec<String> = env.iter().map(name).collect();
    let mut faults = Vec::new();
    for (index, (variable, name)) in env.iter().zip(&names).enumerate() {
        let fault = match source(name) {
            _ if name.is_empty() => Some("must be a string that is not empty".to_owned()),
            Some(source) => Some(format!("must not be {name}, which is set by {source}")),
            None if names.iter().take(index).any(|earlier| earlier == name) => {
                Some(format!("must be unique, but {name} occurs twice"))
            }
            None => None,
        };
        faults.extend(fault.map(|message| Fault::new(format!("{path}[{index}].name"), message)));
        let value = variable.get("value").filter(|value| !value.is_string() && !value.is_null());
        faults.extend(value.map(|value| {
            Fault::new(format!("{path}[{index}].value"), format!("must be a string, but is {value}: quote it"))
        }));
    }
    faults
}
