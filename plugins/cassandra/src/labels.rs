//! Labels and annotations, in which the provider keeps its state.

/// The cluster that an object belongs to.
pub(crate) const CLUSTER: &str = "cassandra.rook.io/cluster";
/// Its datacenter.
pub(crate) const DATACENTER: &str = "cassandra.rook.io/datacenter";
/// Its rack.
pub(crate) const RACK: &str = "cassandra.rook.io/rack";
/// On the Services of seeds.
pub(crate) const SEED: &str = "cassandra.rook.io/seed";
/// On a member's Service: `false` asks the sidecar to decommission the member; the sidecar sets `true` once it has left the
/// ring.
pub(crate) const DECOMMISSIONED: &str = "cassandra.rook.io/decommissioned";
/// On a member's Service: the member has been ready once. Distinguishes joining members from lost ones.
pub(crate) const JOINED: &str = "cassandra.rook.io/joined";
/// Labels that Kubernetes recommends.
pub(crate) const NAME: &str = "app.kubernetes.io/name";
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Annotation of pods and StatefulSets: the version of the database.
pub(crate) const VERSION: &str = "cassandra.rook.io/version";
/// Annotation of StatefulSets: the database, `cassandra` or `scylla`.
pub(crate) const MODE: &str = "cassandra.rook.io/mode";
/// Annotation of StatefulSets: the fingerprint of the last applied pod template.
pub(crate) const TEMPLATE: &str = "cassandra.rook.io/template";
/// Annotation of StatefulSets: the rack's spec, which is needed to empty the rack once it is removed from the Cluster.
pub(crate) const RACK_SPEC: &str = "cassandra.rook.io/rack-spec";
/// Annotation of StatefulSets: a change has reached the whole rack, while other racks still wait for it.
pub(crate) const THROUGH: &str = "cassandra.rook.io/through";
/// Annotation of StatefulSets: the rack was removed from the spec, and this was accepted because it is not a rename.
pub(crate) const REMOVED: &str = "cassandra.rook.io/removed";
/// Annotation of pods: the hash of the rack's ConfigMap, so that a change restarts them.
pub(crate) const CONFIG_HASH: &str = "cassandra.rook.io/config-hash";
