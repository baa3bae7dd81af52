//! The schema of a provider's settings, from a type.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The settings that administrators can make: a JSON schema, generated from a type for the provider's manifest.
///
/// The host validates settings against it before the provider sees them, so express constraints in the type:
/// `#[schemars(range(min = 1))]`, `#[schemars(regex(pattern = "^a"))]`, an enum. With `#[serde(deny_unknown_fields)]` on a struct,
/// misspelt fields are rejected, too; without it they are silently ignored. For a field with `#[serde(default)]` the host fills in
/// the default if the type is `Serialize`; otherwise the field is merely optional. Types cannot be recursive, since the schema has
/// no references.
///
/// Settings must not contain secrets: anyone who may read Providers can read them.
#[derive(Clone, Copy, Debug)]
pub struct SettingsSchema(fn() -> Value);

impl SettingsSchema {
    /// The schema of a type, which must be a struct with named fields.
    #[must_use]
    pub const fn of<T: JsonSchema>() -> Self {
        Self(schema::<T>)
    }

    /// The schema for the manifest.
    #[must_use]
    pub fn to_value(self) -> Value {
        (self.0)()
    }
}

fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_deserialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    settings.into_generator().into_root_schema_for::<T>().to_value()
}
