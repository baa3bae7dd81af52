//! Objects as the API server sends them: as text, of which nothing but its identity is parsed at first. What is too heavy is never parsed
//! as a whole.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bartizan_contract::Kind;
use bartizan_engine::object::Projection;
use bartizan_engine::{Observed, weight};
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope, ObjectMeta};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// An object as the API server sent it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Its name, namespace, UID and resource version, and nothing else.
    metadata: ObjectMeta,
    text: Box<RawValue>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    metadata: Identity,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let Head { metadata } = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        let Identity { name, namespace, uid, resource_version } = metadata;
        Ok(Self { metadata: ObjectMeta { name, namespace, uid, resource_version, ..ObjectMeta::default() }, text })
    }
}

impl Resource for Stored {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(of: &ApiResource) -> Cow<'_, str> {
        of.kind.as_str().into()
    }

    fn group(of: &ApiResource) -> Cow<'_, str> {
        of.group.as_str().into()
    }

    fn version(of: &ApiResource) -> Cow<'_, str> {
        of.version.as_str().into()
    }

    fn api_version(of: &ApiResource) -> Cow<'_, str> {
        of.api_version.as_str().into()
    }

    fn plural(of: &ApiResource) -> Cow<'_, str> {
        of.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The parts of an object that decisions need beside its content.
#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
}

impl Stored {
    /// Projects the object for the engine. Watches and responses to writes both use this: otherwise an object would differ by how it was
    /// received, which would look like drift. The items of a list have no type of their own.
    ///
    /// # Errors
    /// If it is not a stored object.
    pub(crate) fn project(&self, kind: &Kind, projection: &Projection) -> Result<Observed, String> {
        let text = self.text.get();
        if weight::of(text.as_bytes()) <= weight::OBJECT
            // It may be nested too deeply to be parsed.
            && let Ok(object) = serde_json::from_str(text)
        {
            return observed(object, kind, projection);
        }
        Ok(Observed { is_too_heavy: true, ..self.project_metadata(kind, projection)? })
    }

    /// Its managed fields, as far as they are light enough.
    pub(crate) fn managed_fields(&self) -> Value {
        let object = bare(self.text.get()).ok();
        let mut metadata = object.and_then(|mut object| object.remove("metadata")).unwrap_or_default();
        metadata.get_mut("managedFields").map(Value::take).unwrap_or_default()
    }

    /// Projects its metadata, and its status if it has one.
    ///
    /// # Errors
    /// If it is not a stored object.
    pub(crate) fn project_metadata(&self, kind: &Kind, projection: &Projection) -> Result<Observed, String> {
        let object = bare(self.text.get()).map_err(|error| error.to_string())?;
        observed(Value::Object(object), kind, projection)
    }
}

fn observed(mut object: Value, kind: &Kind, projection: &Projection) -> Result<Observed, String> {
    if let Some(top) = object.as_object_mut() {
        top.insert("apiVersion".to_owned(), kind.api_version().into());
        top.insert("kind".to_owned(), kind.kind.clone().into());
    }
    Observed::project_for(object, projection).map_err(|error| error.to_string())
}

/// The metadata and the status of an object, as far as they are light enough and no deeper than may be parsed.
fn bare(text: &str) -> serde_json::Result<Map<String, Value>> {
    let Parts { metadata, status } = serde_json::from_str(text)?;
    let mut object = Map::new();
    object.insert("metadata".to_owned(), light_metadata(metadata)?);
    let status = status.filter(|status| is_light(status)).map(|status| serde_json::from_str(status.get()));
    if let Some(Ok(status)) = status {
        object.insert("status".to_owned(), status);
    }
    Ok(object)
}

fn is_light(part: &RawValue) -> bool {
    weight::of(part.get().as_bytes()) <= weight::OBJECT / 4
}

/// The metadata, with entries of managed fields that are too heavy as if their managers owned everything: who applied the object is
/// known then, and nothing of a status is dropped.
fn light_metadata(metadata: &RawValue) -> serde_json::Result<Value> {
    if is_light(metadata) {
        return serde_json::from_str(metadata.get());
    }
    let parts: BTreeMap<String, &RawValue> = serde_json::from_str(metadata.get())?;
    let light = parts.into_iter().map(|(name, part)| {
        let value = match name.as_str() {
            "managedFields" => light_managed_fields(part)?,
            _ => serde_json::from_str(part.get())?,
        };
        Ok((name, value))
    });
    Ok(Value::Object(light.collect::<serde_json::Result<_>>()?))
}

fn light_managed_fields(managed_fields: &RawValue) -> serde_json::Result<Value> {
    let entries: Vec<BTreeMap<String, &RawValue>> = serde_json::from_str(managed_fields.get())?;
    let entries = entries.into_iter().map(|entry| {
        let light = entry.into_iter().map(|(name, part)| {
            let is_heavy = name == "fieldsV1" && !is_light(part);
            let value = if is_heavy { Ok(Value::Object(Map::new())) } else { serde_json::from_str(part.get()) };
            value.map(|value| (name, value))
        });
        Ok(Value::Object(light.collect::<serde_json::Result<_>>()?))
    });
    Ok(Value::Array(entries.collect::<serde_json::Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::{ObjectList, WatchEvent};
    use serde_json::json;

    fn object(spec: &str) -> String {
        let metadata = json!({
            "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "generation": 3,
            "managedFields": [{"manager": "m", "operation": "Apply", "fieldsV1": {}}],
        });
        format!(r#"{{"metadata":{metadata},"spec":{spec},"status":{{"ready":1}}}}"#)
    }

    fn kind() -> Kind {
        Kind::new("example.com", "v1", "Store")
    }

    fn projection() -> Projection {
        Projection { manager: "m".to_owned(), ..Projection::default() }
    }

    #[test]
    fn an_object_of_a_list_or_an_event_is_what_it_would_be_if_it_were_parsed_at_once() {
        let text = object(r#"{"float":99.99999999999999,"text":"\u00e9\n"}"#);
        let mut value: Value = serde_json::from_str(&text).unwrap();
        (value["apiVersion"], value["kind"]) = ("example.com/v1".into(), "Store".into());
        let expected = Observed::project_for(value, &projection()).unwrap();
        let list: ObjectList<Stored> = serde_json::from_str(&format!(
            r#"{{"kind":"StoreList","apiVersion":"v1","metadata":{{}},"items":[{text}]}}"#
        ))
        .unwrap();
        assert_eq!(list.items[0].project(&kind(), &projection()).unwrap(), expected);
        assert_eq!(list.items[0].meta().resource_version.as_deref(), Some("7"));
        let event = format!(r#"{{"type":"ADDED","object":{text}}}"#);
        let WatchEvent::Added(stored) = serde_json::from_str::<WatchEvent<Stored>>(&event).unwrap() else {
            panic!("{event}")
        };
        assert_eq!(stored.project(&kind(), &projection()).unwrap(), expected);
    }

    #[test]
    fn an_object_that_is_too_heavy_is_known_by_its_metadata_and_status() {
        let heavy = object(&format!(r#"{{"junk":[{}]}}"#, vec![r#"{"":0}"#; 170_000].join(",")));
        let stored: Stored = serde_json::from_str(&heavy).unwrap();
        let observed = stored.project(&kind(), &projection()).unwrap();
        assert!(observed.is_too_heavy && observed.applied_by_host && observed.raw.len() < 500);
        assert_eq!((observed.generation, observed.value()["status"].clone()), (Some(3), json!({"ready": 1})));
    }

    #[test]
    fn of_managed_fields_that_are_too_heavy_the_managers_are_known() {
        let fields: Vec<String> =
            (0..20_000).map(|number| format!(r#""f:{number}":{{"f:b":{{"f:c":{{}}}}}}"#)).collect();
        let fields = fields.join(",");
        let text = format!(
            r#"{{"metadata":{{"name":"a","uid":"u","resourceVersion":"7","managedFields":[{{"manager":"m","operation":"Apply","fieldsV1":{{{fields}}}}}]}}}}"#
        );
        let observed = serde_json::from_str::<Stored>(&text).unwrap().project(&kind(), &projection()).unwrap();
        assert!(observed.is_too_heavy && observed.applied_by_host && !observed.labelled_by_host);
        assert_eq!(&*observed.key.name, "a");
    }

    #[test]
    fn an_object_that_is_nested_too_deeply_is_known_by_its_metadata() {
        let deep = object(&format!("{}{}", r#"{"a":"#.repeat(200) + "1", "}".repeat(200)));
        let stored: Stored = serde_json::from_str(&deep).unwrap();
        let observed = stored.project(&kind(), &projection()).unwrap();
        assert!(observed.is_too_heavy && observed.applied_by_host);
    }
}
