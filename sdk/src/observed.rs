//! Small views of existing objects: the few fields that decisions need, borrowed from the text of the request. Parsing a
//! whole StatefulSet in the sandbox costs many times as much.

mod claims;
mod config_map;
mod fields;
mod metadata;
mod object;
mod pod;
mod secret;
mod stateful_set;

pub use claims::Claims;
pub use config_map::ConfigMapView;
pub use fields::{Field, Fields};
pub use metadata::ObservedMetadata;
pub use object::{ObjectView, Observed, ordinal};
pub use pod::PodView;
pub use secret::SecretView;
pub use stateful_set::{Rollout, StatefulSetSpecView, StatefulSetStatusView, StatefulSetView};
