//! Random lives: pods are lost, labels and statuses are late, the host is killed between two writes, people edit
//! and scale by hand. Invariants are checked at every step, and in the end every cluster must be as specified.

use std::collections::BTreeSet;

use bartizan_sdk::ReconcileResponse;
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::{Value, json};

use crate::world::{World, child, condition, number};

/// How many lives in every run of the tests; `cargo xtask rig lives` sets another number.
const LIVES: u32 = 1_000;
/// The environment variable with that number.
const LIVES_VARIABLE: &str = "BARTIZAN_LIVES";
/// The maximum number of events in a life.
const LENGTH: usize = 40;
/// The versions that a life upgrades through, in order.
const VERSIONS: [&str; 4] = ["4.1.3", "4.1.4", "5.0.1", "5.0.2"];
const RACKS: [&str; 3] = ["a", "b", "c"];

/// An event; numbers select the object that it happens to.
#[derive(Clone, Debug)]
enum Happening {
    /// The provider is called, and its response is executed.
    Reconcile,
    /// Only this many operations of its response are executed before the host is killed.
    Killed(usize),
    /// The provider is called with pods, claims, statuses and labels from an earlier snapshot.
    Late,
    /// Takes that snapshot.
    Look,
    Controller(usize),
    Kubelet(usize),
    Sidecar(usize),
    Lost(usize),
    NotReady(usize),
    ScaledByHand(usize),
    Members(usize, i64),
    RackGone(usize),
    Upgrade,
    Annotate(u8),
    Canary(Option<i64>),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        12 => Just(Reconcile),
        3 => (0..12_usize).prop_map(Killed),
        4 => Just(Late),
        3 => Just(Look),
        12 => any::<usize>().prop_map(Controller),
        16 => any::<usize>().prop_map(Kubelet),
        6 => any::<usize>().prop_map(Sidecar),
        2 => any::<usize>().prop_map(Lost),
        2 => any::<usize>().prop_map(NotReady),
        1 => any::<usize>().prop_map(ScaledByHand),
        3 => (any::<usize>(), 0..4_i64).prop_map(|(rack, members)| Members(rack, members)),
        1 => any::<usize>().prop_map(RackGone),
        1 => Just(Upgrade),
        1 => any::<u8>().prop_map(Annotate),
        1 => prop::option::of(0..4_i64).prop_map(Canary),
    ]
}

/// A world whose invariants are checked.
struct Life {
    world: World,
    looked: World,
    joined: BTreeSet<String>,
    /// Members whose sidecar reported that they have left, as long as any object of theirs exists. A late write may undo the label,
    /// but brings no member back.
    left: BTreeSet<String>,
    version: usize,
    members: Vec<Option<i64>>,
}

impl Life {
    fn new(settled: bool) -> Self {
        let members = vec![Some(2), Some(1), Some(0)];
        let mut world = World::new(&[]);
        edit(&mut world, &members);
        if settled {
            world.run();
        }
        let joined = world.pods.keys().cloned().collect();
        Self { looked: world.clone(), world, joined, left: BTreeSet::new(), version: 0, members }
    }

    fn happen(&mut self, happening: &Happening) {
        let world = &mut self.world;
        let pods: Vec<String> = world.pods.keys().cloned().collect();
        let some = |names: &[String], index: usize| names.get(index % names.len().max(1)).cloned();
        match *happening {
            Happening::Reconcile => self.reconcile(usize::MAX, None),
            Happening::Killed(most) => self.reconcile(most, None),
            Happening::Late => {
                let looked = self.looked.clone();
                self.reconcile(usize::MAX, Some(&looked));
            }
            Happening::Look => self.looked = world.clone(),
            Happening::Controller(index) => {
                if let Some(set) = some(&world.sets(), index) {
                    world.controller(&set);
                    self.check_claims();
                }
            }
            Happening::Kubelet(index) => {
                if let Some(pod) = some(&pods, index) {
                    world.kubelet(&pod);
                    match world.pods.get(&pod) {
                        Some(_) => drop(self.joined.insert(pod)),
                        None if world.claims.keys().all(|claim| !claim.ends_with(&format!("-{pod}"))) => {
                            self.joined.remove(&pod);
                        }
                        None => {}
                    }
                }
            }
            Happening::Sidecar(index) => {
                if let Some(pod) = some(&pods, index) {
                    world.sidecar(&pod);
                    if world.label(&pod).as_deref() == Some("true") {
                        self.left.insert(pod);
                    }
                }
            }
            Happening::Lost(index) => {
                if let Some(pod) = some(&pods, index) {
                    world.kubelet(&pod);
                    world.pods.remove(&pod);
                    self.joined.insert(pod);
                }
            }
            Happening::NotReady(index) => {
                if let Some(pod) = some(&pods, index) {
                    world.pod(&pod).ready = false;
                }
            }
            Happening::ScaledByHand(index) => {
                if let Some(name) = some(&world.sets(), index) {
                    let set = world.set(&name);
                    // While the claims of a member that has left are deleted, those of another would be, too: docs/storage/cassandra.md.
                    let deletes = set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Delete";
                    let replicas = number(set, "/spec/replicas");
                    if !deletes && replicas > 0 {
                        set["spec"]["replicas"] = json!(replicas - 1);
                        set["metadata"]["generation"] = json!(number(set, "/metadata/generation") + 1);
                    }
                }
            }
            Happening::Members(index, members) => {
                let rack = &mut self.members[index % RACKS.len()];
                *rack = rack.map(|_| members);
                edit(world, &self.members);
            }
            Happening::RackGone(index) => {
                let rack = &mut self.members[1 + index % 2];
                *rack = if rack.is_some() { None } else { Some(1) };
                edit(world, &self.members);
            }
            Happening::Upgrade => {
                self.version = (self.version + 1).min(VERSIONS.len() - 1);
                world.edit(json!({"version": VERSIONS[self.version]}));
            }
            Happening::Annotate(value) => world.edit(json!({"annotations": {"note": value.to_string()}})),
            Happening::Canary(count) => world.edit(json!({"canary": count})),
        }
        let children = &self.world.children;
        self.left.retain(|member| children.contains_key(&("Service".to_owned(), member.clone())));
        self.check_state();
    }

    /// Calls the provider with the current or an earlier state, and executes the response as the host does: a write to an object
    /// that has changed since is refused, and ends the execution.
    fn reconcile(&mut self, most: usize, earlier: Option<&World>) {
        let seen = earlier.map_or_else(|| self.world.clone(), |earlier| late(&self.world, earlier));
        let answer = seen.answer();
        self.check_answer(&seen, &answer);
        let refused = |set: &String| {
            let key = ("StatefulSet".to_owned(), set.clone());
            seen.children[&key] != self.world.children[&key] && child(&answer, "StatefulSet", set).is_some()
        };
        let behind = self.world.sets().iter().any(refused)
            || self
                .world
                .children
                .iter()
                .any(|(key, object)| key.0 == "Service" && seen.children.get(key) != Some(object));
        // Services are applied before StatefulSets; a conflict ends the execution.
        let services = answer.children.iter().filter(|child| child.wave == 0).count();
        let most = if behind { most.min(services) } else { most };
        let before = self.world.clone();
        self.world.apply(&answer, most);
        self.check_writes(&before);
    }

    /// Invariants of a response to an observed state.
    fn check_answer(&self, seen: &World, answer: &ReconcileResponse) {
        let well = seen.sets().iter().all(|name| {
            let set = &seen.children[&("StatefulSet".to_owned(), name.clone())];
            let pods: Vec<_> = seen.pods.values().filter(|pod| pod.set == *name).collect();
            pods.len() as i64 == number(set, "/spec/replicas") && pods.iter().all(|pod| pod.ready && !pod.going)
        });
        for name in seen.sets() {
            let before = &seen.children[&("StatefulSet".to_owned(), name.clone())];
            let Some(after) = child(answer, "StatefulSet", &name) else { continue };
            let partition = |set: &Value| number(set, "/spec/updateStrategy/rollingUpdate/partition");
            let (replicas, partition_after) = (number(after, "/spec/replicas"), partition(after));
            let changed = before["spec"]["template"] != after["spec"]["template"];
            let reaches = partition_after < replicas.min(number(before, "/spec/replicas"))
                && (changed || partition_after < partition(before));
            let stuck = seen
                .pods
                .values()
                .filter(|pod| !pod.ready)
                .all(|pod| pod.set == name && !pod.started && pod.ordinal >= partition_after && changed);
            assert!(!reaches || well || stuck, "a change reaches {name} while a member is missing: {seen:#?}");
            assert!(replicas <= number(before, "/spec/replicas") || well, "{name} grows while a member is missing");
        }
    }

    /// Invariants of writes to existing objects.
    fn check_writes(&self, before: &World) {
        for ((kind, name), old) in &before.children {
            match (kind.as_str(), self.world.children.get(&(kind.clone(), name.clone()))) {
                ("StatefulSet", Some(new)) => {
                    let (was, is) = (number(old, "/spec/replicas"), number(new, "/spec/replicas"));
                    let left = before.label(&format!("{name}-{is}")).as_deref() == Some("true");
                    assert!(is >= was || (is == was - 1 && left), "{name} from {was} to {is} against its labels");
                }
                ("StatefulSet", None) => {
                    assert!(before.pods.values().all(|pod| pod.set != *name), "{name} goes with its pods");
                }
                _ => {}
            }
        }
    }

    /// Claims are deleted only with members that have left the ring.
    fn check_claims(&self) {
        for (claim, state) in &self.world.claims {
            let member = claim.strip_prefix("data-").unwrap();
            assert!(!state.owned_by_pod || self.left.contains(member), "{claim} would go, and its member has not left");
        }
    }

    fn check_state(&self) {
        let world = &self.world;
        for pod in world.pods.keys() {
            assert!(world.children.contains_key(&("Service".to_owned(), pod.clone())), "{pod} has no Service");
        }
        let joining: Vec<&String> = world.pods.keys().filter(|pod| !self.joined.contains(*pod)).collect();
        assert!(joining.len() <= 1, "two members join at once: {joining:?}");
        let leaving = |name: &String| match world.label(name).as_deref() {
            Some("false") => true,
            Some(_) => world.pods.contains_key(name),
            None => false,
        };
        let services = world.children.keys().filter(|(kind, _)| kind == "Service").map(|(_, name)| name);
        let leaving: Vec<&String> = services.filter(|name| leaving(name)).collect();
        assert!(leaving.len() <= 1, "two members leave at once: {leaving:?}");
    }
}

/// A stale view: what the host wrote is current, everything else is from an earlier state.
fn late(world: &World, earlier: &World) -> World {
    let mut seen = World { pods: earlier.pods.clone(), claims: earlier.claims.clone(), ..world.clone() };
    for (key, object) in &mut seen.children {
        let Some(old) = earlier.children.get(key) else { continue };
        if key.0 == "StatefulSet" {
            object["status"] = old["status"].clone();
        }
        let label = "/metadata/labels/cassandra.rook.io~1decommissioned";
        if old.pointer(label) == Some(&json!("false"))
            && let Some(label) = object.pointer_mut(label)
        {
            *label = json!("false");
        }
    }
    seen
}

fn edit(world: &mut World, members: &[Option<i64>]) {
    let racks: Vec<_> = RACKS.iter().zip(members).filter_map(|(name, members)| Some((*name, (*members)?))).collect();
    world.racks(&racks);
}

fn lives() -> u32 {
    std::env::var(LIVES_VARIABLE).ok().and_then(|lives| lives.parse().ok()).unwrap_or(LIVES)
}

proptest! {
    #![proptest_config(Config { cases: lives(), failure_persistence: None, ..Config::default() })]
    #[test]
    fn no_member_and_no_data_is_lost_whatever_happens(
        settled in any::<bool>(),
        happenings in prop::collection::vec(happening(), 1..LENGTH),
    ) {
        let mut life = Life::new(settled);
        for happening in &happenings {
            life.happen(happening);
        }
        life.world.edit(json!({"canary": null}));
        life.members = vec![Some(2), Some(2), Some(1)];
        edit(&mut life.world, &life.members);
        life.world.run();
        // If a pod was lost just before its claims were to be deleted with it, they stay, and must be deleted by hand.
        while let Some(member) = life.world.blocked_by_claims_of() {
            life.world.claims.remove(&format!("data-{member}"));
            life.world.run();
        }
        let answer = life.world.answer();
        prop_assert_eq!(condition(&answer, "Ready").2, "all 5 members are ready");
        prop_assert_eq!(life.world.members(), ["db-dc-a-0", "db-dc-a-1", "db-dc-b-0", "db-dc-b-1", "db-dc-c-0"]);
        for pod in life.world.pods.values() {
            prop_assert_eq!(&pod.annotations["cassandra.rook.io/version"], VERSIONS[life.version]);
        }
    }
}
