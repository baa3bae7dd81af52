//! The network of servers.

use schemars::JsonSchema;
use serde::Deserialize;

/// The network of a parent's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Whether the pods use the network of their host.
    #[serde(default)]
    pub host_network: Option<bool>,
    /// The ports that servers listen on, by name.
    #[serde(default)]
    pub ports: Vec<Port>,
}

/// A port, named after what it serves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub struct Port {
    /// The name.
    pub name: String,
    /// The number.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}
