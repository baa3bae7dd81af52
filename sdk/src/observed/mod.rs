//! Small views of objects that exist: the few fields that decisions need. Reading a whole StatefulSet costs the sandbox
//! many times what these do.

mod config_map;
mod pod;
mod stateful_set;

use std::collections::BTreeMap;
use std::marker::PhantomData;

use k8s_openapi::Resource;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};

use crate::{ChildKind, scan};
pub use config_map::ConfigMapView;
pub use pod::PodView;
pub use stateful_set::{Rollout, StatefulSetSpecView, StatefulSetStatusView, StatefulSetView};

/// A view of a kind of object.
pub trait Observed: DeserializeOwned {
    /// The kind that is viewed.
    const KIND: ChildKind;

    /// Reads the view of an object from its JSON text.
    ///
    /// # Errors
    /// If the text is not JSON, or a field that is looked at has another type.
    fn read(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// What decisions need of an observed object's metadata.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObservedMetadata {
    /// Its name.
    pub name: String,
    /// Counts the changes of the spec.
    pub generation: i64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Since when it is being deleted; absent if it is not.
    pub deletion_timestamp: Option<String>,
    /// Whom it goes with.
    pub owner_references: Vec<OwnerView>,
}

/// Whom an object goes with.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerView {
    /// Kind of the owner.
    pub kind: String,
    /// Its identity.
    pub uid: String,
    /// Whether it is the owner that works on the object.
    pub controller: bool,
}

impl ObservedMetadata {
    /// A label's value.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    /// An annotation's value.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// Whether it is being deleted.
    #[must_use]
    pub fn is_going(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
}

/// The number at the end of the name of what a StatefulSet makes: `db-2` and `data-db-2` belong to its third pod.
#[must_use]
pub fn ordinal(name: &str) -> Option<i32> {
    name.rsplit_once('-')?.1.parse().ok()
}

/// The metadata of an object of any kind, and nothing else: `ObjectView<Service>`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(bound = "")]
pub struct ObjectView<R> {
    /// Its metadata.
    #[serde(default)]
    pub metadata: ObservedMetadata,
    #[serde(skip)]
    kind: PhantomData<R>,
}

impl<R: Resource> Observed for ObjectView<R> {
    const KIND: ChildKind = ChildKind::of::<R>();

    /// All but the metadata is passed over.
    fn read(text: &str) -> Result<Self, serde_json::Error> {
        let metadata = scan::field(text, "metadata").map_err(serde_json::Error::custom)?.unwrap_or("{}");
        Ok(Self { metadata: serde_json::from_str(metadata)?, kind: PhantomData })
    }
}
