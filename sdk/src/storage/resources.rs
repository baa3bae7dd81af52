//! The resources of containers, in the three shapes in which users write them: one set for all (`{limits, requests}`), a map by
//! component, or a list of named components.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::quantity;
use crate::failure::Fault;
use crate::schema;

/// Amounts by name: `cpu`, `memory`.
type Amounts = BTreeMap<String, Quantity>;

/// The resources of one container, as in its field `resources`.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct Resources {
    /// The upper limits.
    #[serde(default, skip_serializing_if = "Amounts::is_empty")]
    pub limits: Amounts,
    /// The guaranteed amounts.
    #[serde(default, skip_serializing_if = "Amounts::is_empty")]
    pub requests: Amounts,
}

/// The resources of one component in a list.
#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
pub struct ComponentResources {
    /// Name of the component.
    pub name: String,
    /// The upper limits.
    #[serde(default)]
    pub limits: Amounts,
    /// The guaranteed amounts.
    #[serde(default)]
    pub requests: Amounts,
    /// The network of the component.
    #[serde(default)]
    pub network: Option<ComponentNetwork>,
}

/// The network of a component.
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

/// The resources of containers. The field has no type in a CRD, since it has three shapes.
#[derive(Clone, Debug, PartialEq)]
pub enum ResourceSpec {
    /// One set for every component, and sets for some of them.
    Map {
        /// The resources of components that are not named.
        all: Resources,
        /// The resources of named components.
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
    /// The resources of a component's container, if any are set.
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

    /// The network of a component, if the list has one.
    #[must_use]
    pub fn network(&self, component: &str) -> Option<&ComponentNetwork> {
        self.listed(component).and_then(|listed| listed.network.as_ref())
    }

    /// The named components, each with its path relative to this field: `[0].name`, `.server`.
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

    /// The faults of the components in the field `path`, if only `known` ones exist.
    #[must_use]
    pub fn component_faults(&self, path: impl fmt::Display, known: &[&str]) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut seen = Vec::new();
        for (place, name) in self.components() {
            let message = match known {
                _ if seen.contains(&name) => format!("must be unique, but {name} occurs twice"),
                [only] if *only != name => format!("must be {only}, the only component, but is \"{name}\""),
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
    /// The amount of a resource in whole units: the request, or else the limit.
    #[must_use]
    pub fn amount(&self, name: &str) -> Option<i128> {
        let given = self.requests.get(name).or_else(|| self.limits.get(name))?;
        quantity::whole(&given.0)
    }
}

/// Keeps the shape that was read.
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

/// Distinguishes the shapes while deserializing, so that errors and unknown fields keep their paths.
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
