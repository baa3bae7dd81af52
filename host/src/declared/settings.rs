//! What a provider is given as its settings. No I/O.

use serde_json::{Map, Value};

use crate::catalog::Loaded;

/// Most errors that are told at once: a condition's message has room for some thirty thousand characters.
const MOST: usize = 32;

/// Settings by the schema of a module, with its defaults.
///
/// # Errors
/// Everything that does not fit, in one line.
pub(crate) fn resolve(settings: &Map<String, Value>, loaded: &Loaded) -> Result<Map<String, Value>, String> {
    let manifest = &loaded.manifest;
    match &loaded.settings {
        None if settings.is_empty() => Ok(Map::new()),
        None => Err(format!("spec.settings: {} {} has no settings; leave them out", manifest.name, manifest.version)),
        Some(schema) => schema.resolve(settings).map_err(|errors| {
            let more = errors.len().saturating_sub(MOST);
            let mut said: Vec<String> = errors.iter().take(MOST).map(ToString::to_string).collect();
            said.extend((more > 0).then(|| format!("and {more} more")));
            said.join("; ")
        }),
    }
}
