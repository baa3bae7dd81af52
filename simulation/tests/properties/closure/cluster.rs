//! A small cluster as it is searched: the API server, hosts with their watches, what others do, and what must hold after each step.

use std::cell::Cell;
use std::collections::BTreeMap;

use bartizan_contract::ReconcileResponse;
use bartizan_contract::digest::sha256;
use bartizan_contract::names::{ADOPT_FROM_ANNOTATION, RETAINED_FOR_ANNOTATION};
use bartizan_engine::queue::Finished;
use bartizan_engine::reconcile::{Ended, Next, Report};
use bartizan_engine::snapshot::Left;
use bartizan_engine::{ObjectKey, Observed};
use bartizan_simulation::host::Outcome;
use bartizan_simulation::{ApiServer, Host, WatchEvent};
use serde_json::{Value, json};

use super::checks::{Scope, is_child};
use super::names::Names;
use super::steps::{Deed, Disturbed, FAULTS, Meanwhile, Step};
use crate::world::{
    self, FINALIZER, MANAGER, OTHER, OURS, PROVIDER, SUCCESSOR, State, check_writes, context_of, finish_deletions,
    foreign_to, host_of, key, observe, parent_key, second_key, server, set,
};

/// Children of a world.
pub(super) const CHILDREN: usize = 2;
/// The kinds that are watched.
const KINDS: [&str; 3] = ["ObjectStore", "ConfigMap", "StatefulSet"];
/// Effects of a reconcile that may be faulty, or that something may precede.
const FAULTY: usize = 6;
/// Rounds within which a fair run ends.
const ROUNDS: usize = 14;
/// A host, and the version of its provider.
#[derive(Clone)]
pub(super) struct Site {
    pub(super) host: Host,
    pub(super) provider: &'static str,
    upgraded: bool,
}

impl Site {
    /// Which answer its provider has for a parent.
    fn answer(&self, parent: &Value) -> usize {
        usize::from(self.upgraded || parent["spec"]["revision"] == 2)
    }
}

/// A cluster in a state.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) server: ApiServer,
    pub(super) sites: Vec<Site>,
    /// The sites that go on in a fair run.
    pub(super) fair: Vec<usize>,
    pub(super) answers: [ReconcileResponse; 2],
    pub(super) deeds: Vec<Deed>,
    parents: Vec<(ObjectKey, &'static str)>,
    finalizes: bool,
    /// Children that the garbage collector has orphaned, with their UIDs.
    orphans: BTreeMap<usize, String>,
    /// Children that must never be deleted, with their UIDs.
    treasures: BTreeMap<usize, String>,
}

impl Cluster {
    /// A cluster with one host and one parent.
    pub(super) fn new(states: [State; CHILDREN], answers: [ReconcileResponse; 2], deeds: &[Deed]) -> Self {
        let mut server = server();
        for (number, state) in states.into_iter().enumerate() {
            set(&mut server, number, state);
        }
        let mut cluster = Self {
            server,
            sites: Vec::new(),
            fair: Vec::new(),
            answers,
            deeds: deeds.to_vec(),
            parents: vec![(parent_key(), OURS)],
            finalizes: false,
            orphans: BTreeMap::new(),
            treasures: BTreeMap::new(),
        };
        cluster.add(PROVIDER);
        cluster
    }

    /// One more host, of this provider; all of one provider go on in a fair run only by the last.
    pub(super) fn add(&mut self, provider: &'static str) {
        let mut host = host_of(provider, self.finalizes);
        host.deliver(&self.server, self.server.events.len());
        self.fair.retain(|site| self.sites[*site].provider != provider);
        self.fair.push(self.sites.len());
        self.sites.push(Site { host, provider, upgraded: false });
    }

    /// The same with a second parent, which wants the same children.
    pub(super) fn with_two_parents(mut self) -> Self {
        world::add_second(&mut self.server);
        self.parents.push((second_key(), OTHER));
        self.deliver_all();
        self
    }

    /// The same with a provider that finalizes, and had its finalizer on the parent before there were children.
    pub(super) fn finalizing(mut self) -> Self {
        self.server.update(MANAGER, &parent_key(), |parent| parent["metadata"]["finalizers"] = json!([FINALIZER]));
        self.finalizes = true;
        self.sites.clear();
        self.fair.clear();
        self.add(PROVIDER);
        self
    }

    /// The same with a parent that is to adopt the children of the second one, once that is gone.
    pub(super) fn adopting_from_second(mut self) -> Self {
        self.server.update("kubectl", &parent_key(), |parent| {
            parent["metadata"]["annotations"][ADOPT_FROM_ANNOTATION] = OTHER.into();
        });
        self.deliver_all();
        self
    }

    /// The same with a child that must never be deleted.
    pub(super) fn treasuring(mut self, number: usize) -> Self {
        let uid = self.server.get(&key(number)).map(|child| observe(child).uid.to_string());
        self.treasures.extend(uid.map(|uid| (number, uid)));
        self
    }

    fn deliver_all(&mut self) {
        for site in &mut self.sites {
            site.host.deliver(&self.server, self.server.events.len());
        }
    }

    /// What may happen now.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let deeds: Vec<Deed> = self.deeds.iter().copied().filter(|deed| self.may_happen(*deed)).collect();
        for (number, site) in self.sites.iter().enumerate() {
            let behind = site.host.kinds_behind(&self.server);
            steps.extend(KINDS.iter().filter(|kind| behind.contains(**kind)).map(|kind| Step::Deliver(number, kind)));
            for parent in 0..self.parents.len() {
                steps.push(Step::Reconcile(number, parent, None));
                for effect in 0..FAULTY {
                    let faults = FAULTS.into_iter().map(Meanwhile::Fault);
                    let others = (0..self.sites.len()).filter(|other| *other != number).map(Meanwhile::Other);
                    for meanwhile in faults.chain(deeds.iter().copied().map(Meanwhile::Do)).chain(others) {
                        steps.push(Step::Reconcile(number, parent, Some((effect, meanwhile))));
                    }
                }
            }
            steps.extend([Step::Restart(number, 0), Step::Restart(number, 1)]);
        }
        let is_pending = |object: &Value| is_child(object) && (is_deleting(object) || self.is_garbage(object));
        if self.server.objects().values().any(|object| is_pending(object) || is_foreground(object)) {
            steps.push(Step::Finish);
        }
        steps.extend(deeds.into_iter().map(Step::Do));
        steps
    }

    fn may_happen(&self, deed: Deed) -> bool {
        let exists = |number: usize| self.server.get(&key(number)).is_some();
        let parent = self.server.get(&parent_key());
        let is_alive = parent.is_some_and(|parent| !is_deleting(parent));
        match deed {
            Deed::Edit(number) | Deed::Remove(number) => exists(number),
            Deed::Take(number) => !exists(number),
            Deed::ChangeAnswer => parent.is_some(),
            Deed::Orphan | Deed::Delete | Deed::DeleteForeground => is_alive,
            Deed::OrphanSecond => self.server.get(&second_key()).is_some(),
            Deed::Upgrade(_) | Deed::HandOver(_) | Deed::LiftQuota => true,
            Deed::Collect(number) => {
                let owned = |object: &Value| observe(object).controller_uid.as_deref() == Some(OURS);
                parent.is_some_and(is_deleting) && self.server.get(&key(number)).is_some_and(owned)
            }
        }
    }

    /// Takes a step.
    ///
    /// # Errors
    /// If it does harm.
    pub(super) fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Deliver(site, kind) => self.sites[site].host.deliver_of(&self.server, kind),
            Step::Restart(site, behind) => {
                let events = self.server.events.len().saturating_sub(behind);
                self.sites[site].host = self.sites[site].host.restarted_at(&self.server, events);
            }
            Step::Finish => self.finish(),
            Step::Reconcile(site, parent, meanwhile) => {
                self.reconcile(site, parent, meanwhile)?;
            }
            Step::Do(deed) => self.happens(deed),
        }
        for (number, uid) in &self.orphans {
            let live = self.server.get(&key(*number)).map(observe);
            let is_free =
                live.as_ref().is_some_and(|live| live.uid == *uid && live.controller_uid.is_none() && !live.deleting);
            if !is_free {
                return Err(format!("orphan {number} was deleted, or has an owner again: {live:?}"));
            }
        }
        for (number, uid) in &self.treasures {
            let live = self.server.get(&key(*number)).map(observe);
            if !live.as_ref().is_some_and(|live| live.uid == *uid && !live.deleting) {
                return Err(format!("child {number} was deleted: {live:?}"));
            }
        }
        Ok(())
    }

    fn happens(&mut self, deed: Deed) {
        self.deeds.retain(|other| *other != deed);
        let server = &mut self.server;
        match deed {
            Deed::Edit(number) => world::edit(server, number, 9),
            Deed::Remove(number) => {
                server.begin_deletion(&key(number));
                // That was no host.
                self.treasures.remove(&number);
            }
            Deed::Take(number) => set(server, number, State::Foreign((7, 0, false))),
            Deed::ChangeAnswer => {
                for (parent, _) in &self.parents {
                    server.update("kubectl", parent, |parent| parent["spec"] = json!({"revision": 2}));
                }
            }
            Deed::Upgrade(site) => {
                let site = &mut self.sites[site];
                site.upgraded = true;
                site.host.swap(context_of(site.provider, 2, self.finalizes));
            }
            Deed::HandOver(site) => {
                let site = &mut self.sites[site];
                site.host.left = match site.host.left {
                    None => Some(Left { successor: Some(SUCCESSOR.to_owned()) }),
                    Some(_) => None,
                };
            }
            Deed::Orphan => delete_with(server, "orphan"),
            Deed::OrphanSecond => {
                for number in 0..CHILDREN {
                    let is_theirs = |object: &Value| observe(object).controller_uid.as_deref() == Some(OTHER);
                    if server.get(&key(number)).is_some_and(is_theirs) {
                        server.update("kube-controller-manager", &key(number), |object| {
                            object["metadata"]["ownerReferences"] = json!([]);
                        });
                    }
                }
                server.remove(&second_key());
            }
            Deed::DeleteForeground => delete_with(server, "foregroundDeletion"),
            Deed::Delete => server.begin_deletion(&parent_key()),
            Deed::Collect(number) => {
                server.update("kube-controller-manager", &key(number), |object| {
                    object["metadata"]["ownerReferences"] = json!([]);
                });
                if let Some(child) = server.get(&key(number)).map(observe).filter(|child| !child.deleting) {
                    self.orphans.insert(number, child.uid.to_string());
                }
            }
            Deed::LiftQuota => server.quota = None,
        }
    }

    /// Deletions complete, and what has lost its owner is collected.
    fn finish(&mut self) {
        finish_deletions(&mut self.server);
        let garbage = self.server.objects().iter().filter(|(_, object)| self.is_garbage(object));
        for key in garbage.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.server.begin_deletion(&key);
        }
        let waits = |object: &Value| is_child(object) && observe(object).controller_uid.as_deref() == Some(OURS);
        let is_foreground = self.server.get(&parent_key()).is_some_and(is_foreground);
        if is_foreground && !self.server.objects().values().any(waits) {
            self.server.remove_finalizer(&parent_key(), "foregroundDeletion");
        }
    }

    /// Whether the garbage collector deletes this child: its owner is gone, or waits for it.
    fn is_garbage(&self, object: &Value) -> bool {
        let Some(owner) = observe(object).controller_uid.filter(|_| is_child(object)) else { return false };
        let Some((key, _)) = self.parents.iter().find(|(_, uid)| *owner == **uid) else { return false };
        self.server.get(key).is_none_or(is_foreground) && !is_deleting(object)
    }

    /// Reconciles; returns whether there was a decision or need not be one.
    pub(super) fn reconcile(
        &mut self,
        site: usize,
        parent: usize,
        meanwhile: Option<(usize, Meanwhile)>,
    ) -> Result<bool, String> {
        let (before, objects) = (self.foreign(), self.server.objects().clone());
        let mut acting = self.sites[site].clone();
        let mut beside = match meanwhile {
            Some((_, Meanwhile::Do(_) | Meanwhile::Other(_))) => Some(self.clone()),
            _ => None,
        };
        // What others touch meanwhile is theirs to touch.
        let (mut trouble, mut is_theirs) = (None, false);
        let mut act = |server: &mut ApiServer, meanwhile: Meanwhile| {
            let Some(beside) = &mut beside else { return };
            std::mem::swap(&mut beside.server, server);
            match meanwhile {
                Meanwhile::Do(deed) => {
                    beside.happens(deed);
                    is_theirs = true;
                }
                Meanwhile::Other(other) => trouble = beside.reconcile(other, parent, None).err(),
                Meanwhile::Fault(_) => {}
            }
            std::mem::swap(&mut beside.server, server);
        };
        let (answers, asked) = (&self.answers, Cell::new(None));
        let provider = |request: &[u8]| {
            let request: Value = serde_json::from_slice(request).unwrap_or_default();
            if request["finalizing"] == true {
                return ReconcileResponse { finalized: true, ..ReconcileResponse::default() };
            }
            let number = acting.answer(&request["parent"]);
            asked.set(Some(number));
            answers[number].clone()
        };
        let (parent_key, uid) = self.parents[parent].clone();
        let scope = Scope { provider: acting.provider, parent: &parent_key, uid };
        let mut host = acting.host.clone();
        let ended = {
            let mut schedule = Disturbed { meanwhile, act: &mut act, effect: 0 };
            host.reconcile(&mut self.server, &uid.into(), &provider, &mut schedule)
        };
        let asked = asked.get().map(|number| (&answers[number], scope.blocked(&acting.host, &answers[number])));
        scope.check(&host.trace, (&objects, self.server.objects()), asked)?;
        check_writes(&mut self.server)?;
        if let Some(trouble) = trouble {
            return Err(format!("beside it: {trouble}"));
        }
        if let Some(mut beside) = beside {
            beside.server = std::mem::take(&mut self.server);
            // What this host learns meanwhile, it knows for its next decision.
            let learned = &beside.sites[site];
            acting.upgraded = learned.upgraded;
            host.left = learned.host.left.clone();
            host.swap(context_of(acting.provider, 1 + u8::from(acting.upgraded), self.finalizes));
            *self = beside;
        }
        let after = self.foreign();
        if let Some(touched) = before.iter().find(|object| !after.contains(object)).filter(|_| !is_theirs) {
            return Err(format!("a foreign object was touched: {touched}"));
        }
        let is_decided = |report: &Report| {
            report.ended != Ended::Undecided && !matches!(report.next, Next::Finish(Finished::Again { .. }))
        };
        let has_decided = matches!(&ended, Outcome::Ended(report) if is_decided(report));
        if let Outcome::Crashed = ended {
            host = host.restarted(&self.server);
        }
        host.index.forget_tombstones();
        acting.host = host;
        self.sites[site] = acting;
        // Of a parent that is being deleted nothing is decided, unless its provider finalizes.
        let is_leaving =
            |key: &ObjectKey| self.server.get(key).is_none_or(|parent| is_deleting(parent) && !self.finalizes);
        Ok(has_decided || matches!(ended, Outcome::NoParent) || is_leaving(&self.parents[parent].0))
    }

    fn foreign(&self) -> Vec<String> {
        let providers: Vec<&str> = self.sites.iter().map(|site| site.provider).collect();
        foreign_to(&self.server, &providers, &self.parents)
    }

    /// A fair run without faults and deeds, which must end; what it ends in.
    ///
    /// # Errors
    /// If it does not end, or does harm.
    pub(super) fn fair_run(mut self) -> Result<String, String> {
        // Whoever has not learned yet whose the parents are, does.
        let learning: Vec<Deed> = self.deeds.iter().copied().filter(|deed| matches!(deed, Deed::HandOver(_))).collect();
        if let [deed] = learning[..] {
            self.happens(deed);
        }
        for _ in 0..ROUNDS {
            self.deliver_all();
            self.finish();
            let events = self.server.events.len();
            self.deliver_all();
            let mut have_decided = true;
            for site in self.fair.clone() {
                for parent in 0..self.parents.len() {
                    have_decided &= self.reconcile(site, parent, None)?;
                    self.deliver_all();
                }
            }
            let is_quiet = self.server.events.len() == events;
            if have_decided && is_quiet {
                self.check_said()?;
                return Ok(self.end());
            }
        }
        Err(format!("no fixed point after {ROUNDS} rounds: {}", self.end()))
    }

    /// Whether the status of each parent says what is there.
    fn check_said(&self) -> Result<(), String> {
        for (site, (parent, uid)) in
            self.fair.iter().flat_map(|site| self.parents.iter().map(move |parent| (site, parent)))
        {
            let (site, object) = (&self.sites[*site], self.server.get(parent).unwrap_or(&Value::Null));
            if site.host.left.is_none() {
                let scope = Scope { provider: site.provider, parent, uid };
                scope.check_said(self.server.objects(), &self.answers[site.answer(object)])?;
            }
        }
        Ok(())
    }

    /// What a fixed point looks like: which children there are, with what, and whose.
    fn end(&self) -> String {
        let child = |number: usize| {
            let object = self.server.get(&key(number))?;
            let known = observe(object);
            let is_kept = object["metadata"]["annotations"].get(RETAINED_FOR_ANNOTATION).is_some();
            // Of two parents that want the same, either may be the first.
            let owner = known.owner_uid.filter(|_| self.parents.len() == 1);
            Some((number, object["data"]["content"].clone(), known.provider, owner, is_kept))
        };
        let parents = self.parents.iter().map(|(key, _)| self.server.get(key).is_some());
        let children = (0..CHILDREN).filter_map(child);
        format!("{:?} {:?}", children.collect::<Vec<_>>(), parents.collect::<Vec<_>>())
    }

    /// What decides where a fair run ends, once there are no deeds left.
    pub(super) fn course(&self) -> Option<String> {
        let is_taken = self.server.objects().values().any(|object| object["data"]["content"] == 7);
        let is_open = self.deeds.is_empty() && self.orphans.is_empty() && !is_taken;
        let parents = self.parents.iter().map(|(key, _)| self.server.get(key).map(|parent| parent["spec"].clone()));
        is_open.then(|| format!("{:?}", parents.collect::<Vec<_>>()))
    }

    /// The state without what differs between runs that came to the same.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut names = Names::default();
        let mut text = String::new();
        let keys: Vec<ObjectKey> =
            self.parents.iter().map(|(key, _)| key.clone()).chain((0..CHILDREN).map(key)).collect();
        let mut values: Vec<Value> = self.server.objects().values().cloned().collect();
        for Site { host, .. } in &self.sites {
            values.extend(host.pending(&self.server).map(|event| match event {
                WatchEvent::Applied(object) => json!(["applied", **object]),
                WatchEvent::Deleted(object) => json!(["deleted", **object]),
            }));
            values.extend(keys.iter().map(|key| host.index.get(key).map_or(Value::Null, |known| known_as(known))));
        }
        values.iter().for_each(|value| names.note(value));
        let ranks = names.ranks();
        for value in &values {
            ranks.write(value, &mut text);
            text.push('\n');
        }
        for Site { host, upgraded, .. } in &self.sites {
            for (_, uid) in &self.parents {
                for key in &keys {
                    text.push_str(&ranks.in_text(&host.remembers(&(*uid).into(), key)));
                }
            }
            text.push_str(&format!("{:?} {upgraded}", host.left));
        }
        let (orphans, treasures) = (self.orphans.keys(), self.treasures.keys());
        text.push_str(&format!("{:?} {orphans:?} {treasures:?} {:?}", self.deeds, self.server.quota));
        sha256(text.as_bytes())
    }
}

fn delete_with(server: &mut ApiServer, finalizer: &str) {
    let Some(mut parent) = server.get(&parent_key()).cloned() else { return };
    let mut finalizers = parent["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    finalizers.push(finalizer.into());
    parent["metadata"]["finalizers"] = finalizers.into();
    server.store(&parent_key(), parent);
    server.begin_deletion(&parent_key());
}

/// What the host knows of an object, beside its content.
fn known_as(known: &Observed) -> Value {
    let mut value = known.value();
    value["flags"] = json!([known.applied_by_host, known.labelled_by_host, known.written_by_others_since]);
    value
}

fn is_deleting(object: &Value) -> bool {
    object["metadata"].get("deletionTimestamp").is_some()
}

fn is_foreground(object: &Value) -> bool {
    let finalizers = object["metadata"]["finalizers"].as_array();
    is_deleting(object) && finalizers.into_iter().flatten().any(|finalizer| finalizer == "foregroundDeletion")
}
