//! Settings of a provider, by a type.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// What a provider lets administrators set: a JSON schema, made from a type when the provider is asked for its manifest.
///
/// The host checks settings by it before the provider sees any. So say in the type what is right: `#[schemars(range(min = 1))]`,
/// `#[schemars(regex(pattern = "^a"))]`, an enum. With `#[serde(deny_unknown_fields)]` on a struct a misspelt field is
/// refused, too; without it nobody hears of it. Of a field with `#[serde(default)]` the host fills in the default if its type is
/// `Serialize`; if not, the field is optional all the same. A type may not hold itself: the schema has no references.
///
/// Settings are no place for secrets: they are plain text to whoever may read Providers.
#[derive(Clone, Copy, Debug)]
pub struct SettingsSchema(fn() -> Value);

impl SettingsSchema {
    /// The schema of a type, a struct with named fields.
    #[must_use]
    pub const fn of<T: JsonSchema>() -> Self {
        Self(schema::<T>)
    }

    /// The schema as the manifest holds it.
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
