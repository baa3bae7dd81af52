//! The racks as they are: what of each member exists, found by names and labels.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bartizan_sdk::k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use bartizan_sdk::observed::{Claims, ObjectView, ObservedMetadata, PodView, StatefulSetView, ordinal};
use bartizan_sdk::{Failure, Request, Version, gates};

use crate::labels::{DECOMMISSIONED, JOINED, RACK, RACK_SPEC, THROUGH, VERSION};
use crate::spec::{ClusterSpec, RackSpec};

/// The container of a member that runs the database.
pub(crate) const CONTAINER: &str = "cassandra";

/// What exists of a cluster.
pub(crate) struct Racks<'a> {
    /// Those of the spec in its order, and after them those that it no longer has.
    pub(crate) all: Vec<Rack<'a>>,
    /// Services of members of which the rack is unknown, since its StatefulSet was deleted by hand after the spec had lost
    /// it: their pods may run, and cannot be seen.
    pub(crate) strays: Vec<Cow<'a, str>>,
}

/// A rack that should be, or is.
pub(crate) struct Rack<'a> {
    /// Name of its StatefulSet.
    pub(crate) name: String,
    /// Its name in the spec, or on its StatefulSet.
    pub(crate) rack: Cow<'a, str>,
    /// As the spec has it, or had it before it was removed; absent if nobody knows any more.
    pub(crate) spec: Option<Cow<'a, RackSpec>>,
    /// Whether the spec no longer has it.
    pub(crate) removed: bool,
    /// Its StatefulSet.
    pub(crate) set: Option<StatefulSetView<'a>>,
    /// Its members by ordinal, whatever of each exists.
    pub(crate) members: BTreeMap<i32, Member<'a>>,
}

/// What exists of a member. What must not be forgotten stands on its Service.
#[derive(Default)]
pub(crate) struct Member<'a> {
    pub(crate) has_service: bool,
    /// Whether it is to leave the ring (false) or has left it (true).
    pub(crate) decommissioned: Option<bool>,
    /// Whether it has been ready once.
    pub(crate) joined: bool,
    pub(crate) pod: Option<PodView<'a>>,
    /// The version that it runs. What never started has touched no data, and does not count.
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

    /// How many members it should have by the spec.
    pub(crate) fn wanted(&self) -> i32 {
        self.spec.as_ref().filter(|_| !self.removed).map_or(0, |spec| spec.members)
    }

    /// Name of a member: that of its pod and Service.
    pub(crate) fn member_name(&self, ordinal: i32) -> String {
        [&self.name, "-", &ordinal.to_string()].concat()
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = &PodView<'_>> + Clone {
        self.members.values().filter_map(|member| member.pod.as_ref())
    }

    /// Whether its StatefulSet is there, and settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.set.as_ref().is_some_and(|set| gates::is_settled(set, &self.pods().collect::<Vec<_>>()))
    }

    /// Whether a changed template has reached some members, or may have, and not all.
    pub(crate) fn has_begun(&self) -> bool {
        self.set.as_ref().is_some_and(gates::has_begun)
    }

    /// Whether some members have not got its newest template.
    pub(crate) fn is_pending(&self) -> bool {
        self.set.as_ref().is_some_and(gates::is_pending)
    }

    /// Whether a change has reached all of its members, though perhaps long ago.
    pub(crate) fn is_through(&self) -> bool {
        let set = self.set.as_ref().filter(|_| !self.is_pending());
        set.is_some_and(|set| gates::released(set) > 0 || set.metadata.annotation(THROUGH).is_some())
    }

    /// The partition that lets a change reach nobody whom it has not reached.
    pub(crate) fn held_partition(&self, replicas: i32) -> i32 {
        self.set.as_ref().map_or(replicas, |set| gates::held_partition(set, replicas))
    }

    /// Whether a member is there that has never been ready.
    pub(crate) fn is_joining(&self, ordinal: i32) -> bool {
        self.members.get(&ordinal).is_some_and(|member| !member.joined)
    }

    /// How many members it has; without a StatefulSet as many as have Services and have not left, since a StatefulSet that
    /// is made again around running pods must not be smaller than they are.
    pub(crate) fn replicas(&self) -> i32 {
        let known =
            |(ordinal, member): (&i32, &Member<'_>)| (member.has_service && !member.has_left()).then_some(ordinal + 1);
        match &self.set {
            Some(set) => set.spec.replicas,
            None => self.members.iter().filter_map(known).max().unwrap_or(0),
        }
    }

    /// Whether its StatefulSet's controller says that there are no more pods than there should be.
    pub(crate) fn is_counted(&self) -> bool {
        self.set.as_ref().is_some_and(|set| set.is_observed() && set.status.replicas <= set.spec.replicas)
    }

    /// The versions that its members have run.
    pub(crate) fn versions(&self) -> impl Iterator<Item = Version> {
        let unseen = self.set.as_ref().filter(|_| self.replicas() > 0 && self.pods().next().is_none());
        let members = self.members.values().filter_map(|member| member.version);
        members.chain(unseen.and_then(|set| version_of(&set.metadata)))
    }
}

impl Member<'_> {
    pub(crate) fn runs(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| !pod.metadata.is_going)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| pod.is_ready)
    }

    /// Whether it is out of the ring.
    pub(crate) fn has_left(&self) -> bool {
        self.decommissioned == Some(true)
    }
}

fn version_of(metadata: &ObservedMetadata<'_>) -> Option<Version> {
    Version::parse(&metadata.annotation(VERSION)?)
}

/// Name of a rack's StatefulSet.
pub(crate) fn set_name(cluster: &str, datacenter: &str, rack: &str) -> String {
    [cluster, datacenter, rack].join("-")
}

/// Finds them.
pub(crate) fn observe<'a>(request: &'a Request<'_, ClusterSpec>) -> Result<Racks<'a>, Failure> {
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
    fn find_services(&mut self, request: &'a Request<'_, ClusterSpec>) -> Result<(), Failure> {
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

    fn find_pods_and_claims(&mut self, request: &'a Request<'_, ClusterSpec>) -> Result<(), Failure> {
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

    /// The member that an object of this name belongs to.
    fn member(&mut self, name: &str) -> Option<&mut Member<'a>> {
        let (set, ordinal) = name.rsplit_once('-')?;
        let rack = self.all.iter_mut().find(|rack| rack.name == set)?;
        Some(rack.members.entry(ordinal.parse().ok()?).or_default())
    }
}
