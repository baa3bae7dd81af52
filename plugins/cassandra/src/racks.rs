//! The racks as they are: what of each member exists, found by names and labels.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bartizan_sdk::k8s_openapi::api::core::v1::{PersistentVolumeClaim, Service};
use bartizan_sdk::observed::{ObjectView, PodView, StatefulSetView, ordinal};
use bartizan_sdk::{Failure, Request};

use crate::labels::{DECOMMISSIONED, JOINED, RACK, RACK_SPEC, TEMPLATE, VERSION};
use crate::spec::{ClusterSpec, RackSpec};
use crate::version::Version;

/// The container of a member that runs the database.
pub(crate) const CONTAINER: &str = "cassandra";

/// A rack that should be, or is.
#[derive(Clone, Debug)]
pub(crate) struct Rack<'a> {
    /// Name of its StatefulSet.
    pub(crate) name: String,
    /// Its name in the spec, or on its StatefulSet.
    pub(crate) rack: String,
    /// As the spec has it, or had it before it was removed; absent if nobody knows any more.
    pub(crate) spec: Option<Cow<'a, RackSpec>>,
    /// Whether the spec no longer has it.
    pub(crate) removed: bool,
    /// Its StatefulSet.
    pub(crate) set: Option<StatefulSetView>,
    /// Its members by ordinal, whatever of each exists.
    pub(crate) members: BTreeMap<i32, Member>,
}

/// What exists of a member.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Member {
    /// Its Service, which carries what must not be forgotten.
    pub(crate) service: Option<Record>,
    /// Its pod.
    pub(crate) pod: Option<PodView>,
    /// Its volume claims.
    pub(crate) claims: Claims,
}

/// What a member's Service says about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// Whether it is to leave the ring (false) or has left it (true).
    pub(crate) decommissioned: Option<bool>,
    /// Whether it has been ready once.
    pub(crate) joined: bool,
}

/// What becomes of a member's claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Claims {
    /// There are none.
    #[default]
    None,
    /// They stay until somebody deletes them.
    Kept,
    /// They are being deleted, or will be with the pod that owns them.
    Going,
}

impl Rack<'_> {
    /// How many members it should have by the spec.
    pub(crate) fn wanted(&self) -> i32 {
        self.spec.as_ref().filter(|_| !self.removed).map_or(0, |spec| spec.members)
    }

    /// Name of a member: that of its pod and Service.
    pub(crate) fn member_name(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.name)
    }

    pub(crate) fn pods(&self) -> Vec<&PodView> {
        self.members.values().filter_map(|member| member.pod.as_ref()).collect()
    }

    /// How many members it has; without a StatefulSet as many as have Services and have not left, since a StatefulSet that
    /// is made again around running pods must not be smaller than they are.
    pub(crate) fn replicas(&self) -> i32 {
        let known = |(ordinal, member): (&i32, &Member)| {
            member.service.filter(|service| service.decommissioned != Some(true)).map(|_| ordinal + 1)
        };
        match &self.set {
            Some(set) => set.spec.replicas,
            None => self.members.iter().filter_map(known).max().unwrap_or(0),
        }
    }

    /// Whether its StatefulSet's controller says that there are no more pods than there should be.
    pub(crate) fn is_counted(&self) -> bool {
        self.set.as_ref().is_some_and(|set| {
            set.status.observed_generation == set.metadata.generation && set.status.replicas <= set.spec.replicas
        })
    }

    /// The template that its StatefulSet has, by its fingerprint.
    pub(crate) fn template(&self) -> Option<&str> {
        self.set.as_ref()?.metadata.annotation(TEMPLATE)
    }

    /// The versions that its members have run. What never started has touched no data, and does not count.
    pub(crate) fn versions(&self) -> Vec<Version> {
        let started = self.pods().into_iter().filter(|pod| pod.has_started(CONTAINER));
        let mut versions: Vec<_> =
            started.filter_map(|pod| pod.metadata.annotation(VERSION).and_then(Version::parse)).collect();
        if self.replicas() > 0 && self.pods().is_empty() {
            let set = self.set.as_ref().and_then(|set| set.metadata.annotation(VERSION));
            versions.extend(set.and_then(Version::parse));
        }
        versions
    }
}

/// Services of members of which the rack is unknown, since its StatefulSet was deleted by hand after the spec had lost it:
/// their pods may run, and cannot be seen.
pub(crate) fn strays(request: &Request<'_, ClusterSpec>, racks: &[Rack<'_>]) -> Result<Vec<String>, Failure> {
    let services = request.children::<ObjectView<Service>>()?.into_iter().map(|(_, service)| service.metadata);
    let stray = services.filter(|service| {
        let set = service.name.rsplit_once('-').map_or("", |(set, _)| set);
        service.label(RACK).is_some()
            && service.label(DECOMMISSIONED) != Some("true")
            && !racks.iter().any(|rack| rack.name == set)
    });
    Ok(stray.map(|service| service.name).collect())
}

/// Name of a rack's StatefulSet.
pub(crate) fn set_name(cluster: &str, datacenter: &str, rack: &str) -> String {
    format!("{cluster}-{datacenter}-{rack}")
}

/// The racks of the spec in its order, and after them those that it no longer has.
pub(crate) fn all<'a>(request: &'a Request<'_, ClusterSpec>) -> Result<Vec<Rack<'a>>, Failure> {
    let datacenter = &request.spec.datacenter;
    let mut sets: BTreeMap<String, StatefulSetView> = BTreeMap::new();
    for (_, set) in request.children::<StatefulSetView>()? {
        sets.insert(set.metadata.name.clone(), set);
    }
    let mut racks = Vec::new();
    for spec in &datacenter.racks {
        let name = set_name(request.name(), &datacenter.name, &spec.name);
        racks.push(Rack {
            set: sets.remove(&name),
            name,
            rack: spec.name.clone(),
            spec: Some(Cow::Borrowed(spec)),
            removed: false,
            members: BTreeMap::new(),
        });
    }
    for (name, set) in sets {
        let recorded = set.metadata.annotation(RACK_SPEC).and_then(|text| serde_json::from_str(text).ok());
        racks.push(Rack {
            rack: set.metadata.label(RACK).unwrap_or(&name).to_owned(),
            name,
            spec: recorded.map(Cow::Owned),
            removed: true,
            set: Some(set),
            members: BTreeMap::new(),
        });
    }
    find_members(request, &mut racks)?;
    Ok(racks)
}

fn find_members(request: &Request<'_, ClusterSpec>, racks: &mut [Rack<'_>]) -> Result<(), Failure> {
    for (_, ObjectView { metadata, .. }) in request.children::<ObjectView<Service>>()? {
        let Some(member) = member_of(racks, &metadata.name) else { continue };
        let decommissioned = metadata.label(DECOMMISSIONED).map(|label| label == "true");
        member.service = Some(Record { decommissioned, joined: metadata.label(JOINED) == Some("true") });
    }
    for (_, pod) in request.descendants::<PodView>()? {
        let Some(member) = member_of(racks, &pod.metadata.name) else { continue };
        member.pod = Some(pod);
    }
    for (_, ObjectView { metadata, .. }) in request.descendants::<ObjectView<PersistentVolumeClaim>>()? {
        let rack = racks.iter_mut().find(|rack| metadata.label(RACK) == Some(&rack.rack));
        let Some((rack, ordinal)) = rack.zip(ordinal(&metadata.name)) else { continue };
        let owned_by_pod = metadata.owner_references.iter().any(|owner| owner.kind == "Pod");
        let claims = &mut rack.members.entry(ordinal).or_default().claims;
        match (metadata.is_going() || owned_by_pod, *claims) {
            (true, Claims::None | Claims::Going) => *claims = Claims::Going,
            _ => *claims = Claims::Kept,
        }
    }
    Ok(())
}

/// The member that an object of this name belongs to.
fn member_of<'a>(racks: &'a mut [Rack<'_>], name: &str) -> Option<&'a mut Member> {
    let (set, _) = name.rsplit_once('-')?;
    let ordinal = ordinal(name)?;
    let rack = racks.iter_mut().find(|rack| rack.name == set)?;
    Some(rack.members.entry(ordinal).or_default())
}
