//! What containers need, in the three shapes in which people write it: one set for all (`{limits, requests}`), a map by
//! component, or a list of components with names.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::quantity;
use crate::{Fault, schema};

/// Amounts by name: `cpu`, `memory`.
type Amounts = BTreeMap<String, Quantity>;

/// What one container needs, as the field `resources` of a container.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Resources {
    /// Never more than this.
    #[serde(default, skip_serializing_if = "Amounts::is_empty")]
    pub limits: Amounts,
    /// At least this.
    #[serde(default, skip_serializing_if = "Amounts::is_empty")]
    pub requests: Amounts,
}

/// What a component needs, in the shape of a list.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct ComponentResources {
    /// Name of the component.
    pub name: String,
    /// Never more than this.
    #[serde(default)]
    pub limits: Amounts,
    /// At least this.
    #[serde(default)]
    pub requests: Amounts,
    /// How the component is reached.
    #[serde(default)]
    pub network: Option<ComponentNetwork>,
}

/// How a component is reached.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentNetwork {
    /// Whether its pods use the network of their host.
    #[serde(default)]
    pub host_network: Option<bool>,
    /// The port that it listens on.
    #[serde(default)]
    pub port: Option<u16>,
}

/// What containers need. In a CRD it is a field without a type, since it has three.
#[derive(Clone, Debug, PartialEq)]
pub enum ResourceSpec {
    /// One set for every component, and sets for some of them.
    Map {
        /// What a component needs that is not named.
        all: Resources,
        /// What a named component needs.
        components: BTreeMap<String, Resources>,
    },
    /// A list of components.
    List(Vec<ComponentResources>),
}

impl Default for ResourceSpec {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl ResourceSpec {
    /// What a component's container needs; nothing if nobody said.
    #[must_use]
    pub fn of(&self, component: &str) -> Option<Resources> {
        let resources = match self {
            Self::Map { all, components } => components.get(component).unwrap_or(all).clone(),
            Self::List(_) => {
                let listed = self.listed(component)?;
                Resources { limits: listed.limits.clone(), requests: listed.requests.clone() }
            }
        };
        (resources != Resources::default()).then_some(resources)
    }

    /// How a component is reached, where the list says so.
    #[must_use]
    pub fn network(&self, component: &str) -> Option<&ComponentNetwork> {
        self.listed(component).and_then(|listed| listed.network.as_ref())
    }

    /// The components that are named, each with its place below this field: `[0].name`, `.server`.
    #[must_use]
    pub fn components(&self) -> Vec<(String, &str)> {
        match self {
            Self::Map { components, .. } => components.keys().map(|name| (format!(".{name}"), name.as_str())).collect(),
            Self::List(list) => {
                let named = list.iter().enumerate();
                named.map(|(index, listed)| (format!("[{index}].name"), listed.name.as_str())).collect()
            }
        }
    }

    /// What is wrong with the components of the field `path`, where only `known` ones are.
    #[must_use]
    pub fn component_faults(&self, path: impl fmt::Display, known: &[&str]) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut seen = Vec::new();
        for (place, name) in self.components() {
            let message = match known {
                _ if seen.contains(&name) => format!("must be unique, but {name} is there twice"),
                [only] if *only != name => format!("must be {only}, the one component, but is \"{name}\""),
                _ if !known.contains(&name) => format!("must be one of {}, but is \"{name}\"", known.join(", ")),
                _ => {
                    seen.push(name);
                    continue;
                }
            };
            faults.push(Fault::new(format!("{path}{place}"), message));
        }
        faults
    }

    fn listed(&self, component: &str) -> Option<&ComponentResources> {
        match self {
            Self::Map { .. } => None,
            Self::List(list) => list.iter().find(|listed| listed.name == component),
        }
    }
}

impl Resources {
    /// How much of something there is room for, in whole units: what is promised, or else the limit.
    #[must_use]
    pub fn amount(&self, name: &str) -> Option<i128> {
        let given = self.requests.get(name).or_else(|| self.limits.get(name))?;
        quantity::whole(&given.0)
    }
}

/// In the shape in which it was read.
impl Serialize for ResourceSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::List(list) => list.serialize(serializer),
            Self::Map { all: Resources { limits, requests }, components } => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("limits", limits)?;
                map.serialize_entry("requests", requests)?;
                components.iter().try_for_each(|(name, resources)| map.serialize_entry(name, resources))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for ResourceSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shapes)
    }
}

/// Tells the shapes apart while reading, so that errors and unknown fields keep their paths.
struct Shapes;

impl<'de> Visitor<'de> for Shapes {
    type Value = ResourceSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("limits and requests, or these by component")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ResourceSpec, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(ResourceSpec::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<ResourceSpec, A::Error> {
        let mut all = Resources::default();
        let mut components = BTreeMap::new();
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "limits" => all.limits = fields.next_value()?,
                "requests" => all.requests = fields.next_value()?,
                _ => {
                    components.insert(name, fields.next_value()?);
                }
            }
        }
        Ok(ResourceSpec::Map { all, components })
    }
}

impl JsonSchema for ResourceSpec {
    fn schema_name() -> Cow<'static, str> {
        "ResourceSpec".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        schema::anything(generator)
    }
}
