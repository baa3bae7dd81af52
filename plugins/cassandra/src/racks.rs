//! The observed state of racks and members, found by names and labels.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bartizan_sdk::k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use bartizan_sdk::observed::{Claims, ObjectView, ObservedMetadata, PodView, StatefulSetView, ordinal};
use bartizan_sdk::{Failure, Version, gates};

use crate::labels::{DECOMMISSIONED, JOINED, RACK, RACK_SPEC, THROUGH, VERSION};
use crate::spec::{ClusterRequest, RackSpec};

/// The container that runs the database.
pub(crate) const CONTAINER: &str = "cassandra";

/// The racks of a cluster.
pub(crate) struct Racks<'a> {
    /// The racks of the spec in its order, then those that were removed from it.
    pub(crate) all: Vec<Rack<'a>>,
    /// The Services of members of unknown racks: the rack was removed from the spec, and its StatefulSet was deleted by hand. Their
    /// pods may still be running, but are not observed.
    pub(crate) strays: Vec<Cow<'a, str>>,
}

/// A rack that is wanted or exists.
pub(crate) struct Rack<'a> {
    /// The name of the StatefulSet.
    pub(crate) name: String,
    /// The name of the rack, from the spec or from the StatefulSet's label.
    pub(crate) rack: Cow<'a, str>,
    /// The rack's spec, or its last spec if it was removed; absent if that record is lost.
    pub(crate) spec: Option<Cow<'a, RackSpec>>,
    /// Whether the rack was removed from the spec.
    pub(crate) removed: bool,
    /// The StatefulSet.
    pub(crate) set: Option<StatefulSetView<'a>>,
    /// The members by ordinal, if any object of theirs exists.
    pub(crate) members: BTreeMap<i32, Member<'a>>,
}

/// The observed state of a member. State that must survive its pod is kept in labels of its Service.
#[derive(Default)]
pub(crate) struct Member<'a> {
    pub(crate) has_service: bool,
    /// Whether the member has left the ring (true) or was asked to (false).
    pub(crate) decommissioned: Option<bool>,
    /// Whether the member has been ready once.
    pub(crate) joined: bool,
    pub(crate) pod: Option<PodView<'a>>,
    /// The version that the member runs. A member that never started has not touched its data, and has none.
    version: Option<Version>,
    pub(crate) claims: Claims,
}

impl<'a> Rack<'a> {
    fn new(
        name: String,
        rack: Cow<'a, str>,
        spec: Option<Cow<'a, RackSpec>>,
        set: Option<StatefulSetView<'a>>,
    ) -> Self {
        Self { name, rack, spec, removed: false, set, members: BTreeMap::new() }
    }

    /// The number of members in the spec.
    pub(crate) fn wanted(&self) -> i32 {
        self.spec.as_ref().filter(|_| !self.removed).map_or(0, |spec| spec.members)
    }

    /// The name of a member's pod and Service.
    pub(crate) fn member_name(&self, ordinal: i32) -> String {
        [&self.name, "-", &ordinal.to_string()].concat()
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = &PodView<'_>> + Clone {
        self.members.values().filter_map(|member| member.pod.as_ref())
    }

    /// Whether the StatefulSet exists and is settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.set.as_ref().is_some_and(|set| gates::is_settled(set, &self.pods().collect::<Vec<_>>()))
    }

    /// Whether a changed template has reached, or may have reached, some but not all members.
    pub(crate) fn has_begun(&self) -> bool {
        self.set.as_ref().is_some_and(gates::has_begun)
    }

    /// Whether some members do not have the newest template yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.set.as_ref().is_some_and(gates::is_pending)
    }

    /// Whether a change has reached all members, however long ago.
    pub(crate) fn is_through(&self) -> bool {
        let set = self.set.as_ref().filter(|_| !self.is_pending());
        set.is_some_and(|set| gates::released(set) > 0 || set.metadata.annotation(THROUGH).is_some())
    }

    /// The partition with which a change reaches no further member.
    pub(crate) fn held_partition(&self, replicas: i32) -> i32 {
        self.set.as_ref().map_or(replicas, |set| gates::held_partition(set, replicas))
    }

    /// Whether a member exists that has never been ready.
    pub(crate) fn is_joining(&self, ordinal: i32) -> bool {
        self.members.get(&ordinal).is_some_and(|member| !member.joined)
    }

    /// The number of members. Without a StatefulSet, it follows from the Services of members that have not left the ring: a
    /// StatefulSet that is created again around running pods must not be smaller than before.
    pub(crate) fn replicas(&self) -> i32 {
        let known =
            |(ordinal, member): (&i32, &Member<'_>)| (member.has_service && !member.has_left()).then_some(ordinal + 1);
        match &self.set {
            Some(set) => set.spec.replicas,
            None => self.members.iter().filter_map(known).max().unwrap_or(0),
        }
    }

    /// Whether the StatefulSet's controller reports no surplus pods.
    pub(crate) fn is_counted(&self) -> bool {
        self.set.as_ref().is_some_and(|set| set.is_observed() && set.status.replicas <= set.spec.replicas)
    }

    /// The versions of the members.
    pub(crate) fn versions(&self) -> impl Iterator<Item = Version> {
        let unseen = self.set.as_ref().filter(|_| self.replicas() > 0 && self.pods().next().is_none());
        let members = self.members.values().filter_map(|member| member.version);
        members.chain(unseen.and_then(|set| version_of(&set.metadata)))
    }
}

impl Member<'_> {
    pub(crate) fn runs(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| !pod.metadata.is_deleting)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| pod.is_ready)
    }

    /// Whether the member has left the ring.
    pub(crate) fn has_left(&self) -> bool {
        self.decommissioned == Some(true)
    }
}

fn version_of(metadata: &ObservedMetadata<'_>) -> Option<Version> {
    Version::parse(&metadata.annotation(VERSION)?)
}

/// The name of a rack's StatefulSet.
pub(crate) fn set_name(cluster: &str, datacenter: &str, rack: &str) -> String {
    [cluster, datacenter, rack].join("-")
}

/// The racks that a request shows.
pub(crate) fn observe<'a>(request: &'a ClusterRequest<'_>) -> Result<Racks<'a>, Failure> {
    let datacenter = &request.spec.datacenter;
    let mut sets: Vec<StatefulSetView<'_>> = request.children()?;
    let mut all = Vec::new();
    for spec in &datacenter.racks {
        let name = set_name(request.name(), &datacenter.name, &spec.name);
        let set = sets.iter().position(|set| set.metadata.name == name).map(|index| sets.remove(index));
        all.push(Rack::new(name, Cow::Borrowed(&spec.name), Some(Cow::Borrowed(spec)), set));
    }
    for set in sets {
        let recorded = set.metadata.annotation(RACK_SPEC).and_then(|text| serde_json::from_str(&text).ok());
        let name = set.metadata.name.clone();
        let rack = set.metadata.label(RACK).map_or_else(|| name.clone(), Cow::Borrowed);
        let rack = Rack::new(name.into_owned(), rack, recorded.map(Cow::Owned), Some(set));
        all.push(Rack { removed: true, ..rack });
    }
    let mut racks = Racks { all, strays: Vec::new() };
    racks.find_services(request)?;
    racks.find_pods_and_claims(request)?;
    Ok(racks)
}

impl<'a> Racks<'a> {
    fn find_services(&mut self, request: &'a ClusterRequest<'_>) -> Result<(), Failure> {
        for ObjectView { metadata, .. } in request.children::<ObjectView<'_, Service>>()? {
            let [decommissioned, joined, rack] = metadata.labels([DECOMMISSIONED, JOINED, RACK]);
            let decommissioned = decommissioned.map(|value| value == "true");
            if let Some(member) = self.member(&metadata.name) {
                (member.has_service, member.decommissioned, member.joined) =
                    (true, decommissioned, joined == Some("true"));
            } else if rack.is_some() && decommissioned != Some(true) {
                self.strays.push(metadata.name);
            }
        }
        Ok(())
    }

    fn find_pods_and_claims(&mut self, request: &'a ClusterRequest<'_>) -> Result<(), Failure> {
        for pod in request.descendants::<PodView<'_>>()? {
            let Some(member) = self.member(&pod.metadata.name) else { continue };
            member.version = version_of(&pod.metadata).filter(|_| pod.has_started(CONTAINER));
            member.pod = Some(pod);
        }
        for ObjectView { metadata, .. } in request.descendants::<ObjectView<'_, PersistentVolumeClaim>>()? {
            let label = metadata.label(RACK);
            let rack = self.all.iter_mut().find(|rack| label == Some(&rack.rack));
            let Some((rack, ordinal)) = rack.zip(ordinal(&metadata.name)) else { continue };
            let member = rack.members.entry(ordinal).or_default();
            member.claims = member.claims.with(&metadata);
        }
        Ok(())
    }

    /// The member to which an object of this name belongs.
    fn member(&mut self, name: &str) -> Option<&mut Member<'a>> {
        let (set, ordinal) = name.rsplit_once('-')?;
        let rack = self.all.iter_mut().find(|rack| rack.name == set)?;
        Some(rack.members.entry(ordinal.parse().ok()?).or_default())
    }
}
