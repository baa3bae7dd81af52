//! Labels and annotations: what of the cluster's state is written where.

/// The cluster that an object belongs to.
pub(crate) const CLUSTER: &str = "cassandra.rook.io/cluster";
/// Its datacenter.
pub(crate) const DATACENTER: &str = "cassandra.rook.io/datacenter";
/// Its rack.
pub(crate) const RACK: &str = "cassandra.rook.io/rack";
/// On the Services of members by which others find the ring.
pub(crate) const SEED: &str = "cassandra.rook.io/seed";
/// On a member's Service: `false` asks the sidecar to take it out of the ring, which sets `true` once it has left.
pub(crate) const DECOMMISSIONED: &str = "cassandra.rook.io/decommissioned";
/// On a member's Service: it has been ready once. Tells a member that joins from one that is lost.
pub(crate) const JOINED: &str = "cassandra.rook.io/joined";
/// What Kubernetes recommends.
pub(crate) const NAME: &str = "app.kubernetes.io/name";
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Annotation of pods and StatefulSets: the version of the database.
pub(crate) const VERSION: &str = "cassandra.rook.io/version";
/// Annotation of StatefulSets: which database.
pub(crate) const MODE: &str = "cassandra.rook.io/mode";
/// Annotation of StatefulSets: fingerprint of the pod template that was last applied.
pub(crate) const TEMPLATE: &str = "cassandra.rook.io/template";
/// Annotation of StatefulSets: the rack as the spec had it, by which it is emptied once the spec has it no more.
pub(crate) const RACK_SPEC: &str = "cassandra.rook.io/rack-spec";
/// Annotation of StatefulSets: a change has reached all its members, and those of other racks wait for it.
pub(crate) const THROUGH: &str = "cassandra.rook.io/through";
/// Annotation of StatefulSets: its rack was removed from the spec, and that was no rename.
pub(crate) const REMOVED: &str = "cassandra.rook.io/removed";
/// Annotation of pods: hash of the rack's ConfigMap, so that a change of it restarts them.
pub(crate) const CONFIG_HASH: &str = "cassandra.rook.io/config-hash";
