//! The bench's own watches: when each parent converged.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::triples::{CONFIG_MAPS, Triple, Triples, config_map_of, parent_name, parent_of};

/// A parent as last seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parent {
    /// The value in its status.
    status: Option<String>,
    /// UID and value of each ConfigMap.
    config_maps: [Option<(String, String)>; CONFIG_MAPS],
    /// When its status first showed the wanted value.
    pub(crate) status_at: Option<Instant>,
    /// When status and ConfigMaps first matched.
    pub(crate) right_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Listed {
    parents: bool,
    config_maps: bool,
}

impl Listed {
    const BOTH: Self = Self { parents: true, config_maps: true };
}

/// Everything seen so far.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) parents: Vec<Parent>,
    /// The wanted value of status and ConfigMaps.
    wanted: String,
    /// The number of parents that have not converged since the value was set.
    wrong: usize,
    /// Whether parents and ConfigMaps have been listed.
    listed: Listed,
}

impl Seen {
    fn new(parents: usize) -> Self {
        let parents = vec![Parent::default(); parents];
        Self { wrong: parents.len(), parents, wanted: String::new(), listed: Listed::default() }
    }

    /// Sets another wanted value.
    fn set_wanted(&mut self, value: &str) {
        value.clone_into(&mut self.wanted);
        self.wrong = self.parents.len();
        for parent in &mut self.parents {
            (parent.status_at, parent.right_at) = (None, None);
        }
    }

    fn saw_parent(&mut self, number: usize, status: Option<String>) {
        let Some(parent) = self.parents.get_mut(number) else { return };
        parent.status = status;
        if parent.status_at.is_none() && parent.status.as_ref() == Some(&self.wanted) {
            parent.status_at = Some(Instant::now());
        }
        self.check(number);
    }

    fn saw_config_map(&mut self, (number, index): (usize, usize), seen: Option<(String, String)>) {
        let Some(parent) = self.parents.get_mut(number) else { return };
        if let Some(slot) = parent.config_maps.get_mut(index) {
            *slot = seen;
        }
        self.check(number);
    }

    fn check(&mut self, number: usize) {
        let Some(parent) = self.parents.get_mut(number) else { return };
        let has_value = |slot: &Option<(String, String)>| slot.as_ref().is_some_and(|(_, value)| *value == self.wanted);
        if parent.right_at.is_none() && parent.status_at.is_some() && parent.config_maps.iter().all(has_value) {
            parent.right_at = Some(Instant::now());
            self.wrong -= 1;
        }
    }

    /// Applies one event of a watch; returns whether it completes a list. Deletions while a watch is broken are not
    /// noticed; nothing here depends on them.
    fn take<K>(&mut self, event: watcher::Result<Event<K>>, handle: fn(&mut Self, K, bool)) -> bool {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => handle(self, object, true),
            Ok(Event::Delete(object)) => handle(self, object, false),
            Ok(Event::InitDone) => return true,
            Ok(Event::Init) => {}
            // It lists again, which distorts the figures, so that the reason is printed.
            Err(error) => eprintln!("the bench's own watch broke: {error}"),
        }
        false
    }

    fn parent_event(&mut self, triple: Triple, exists: bool) {
        if let Some(number) = parent_of(&triple.name_any()) {
            let status = triple.status.filter(|_| exists).map(|status| status.value);
            self.saw_parent(number, status);
        }
    }

    fn config_map_event(&mut self, config_map: ConfigMap, exists: bool) {
        if let Some(place) = config_map_of(&config_map.name_any()) {
            let value = config_map.data.and_then(|mut data| data.remove("value"));
            let uid = config_map.metadata.uid.filter(|_| exists);
            self.saw_config_map(place, uid.zip(value));
        }
    }

    pub(crate) fn all_converged(&self) -> bool {
        self.wrong == 0
    }

    /// The UID of a ConfigMap that exists and has the wanted value.
    pub(crate) fn uid(&self, parent: usize, index: usize) -> Option<&str> {
        let (uid, value) = self.parents.get(parent)?.config_maps.get(index)?.as_ref()?;
        (*value == self.wanted).then_some(uid)
    }
}

/// Watches until it is dropped.
pub(crate) struct Observer {
    seen: watch::Sender<Seen>,
    tasks: JoinSet<()>,
}

impl Observer {
    /// Starts the watches, and returns once both have listed.
    pub(crate) async fn start(triples: &Triples, parents: usize, timeout: Duration) -> Result<Self> {
        let mut observer = Self { seen: watch::Sender::new(Seen::new(parents)), tasks: JoinSet::new() };
        let config = watcher::Config::default();
        // The storage of a new kind may not be ready yet, and a watch is then refused for a second.
        let seen = observer.seen.clone();
        let events = watcher::watcher(triples.parents.clone(), config.clone()).default_backoff();
        observer.tasks.spawn(events.for_each(move |event| {
            seen.send_modify(|seen| seen.listed.parents |= seen.take(event, Seen::parent_event));
            std::future::ready(())
        }));
        let seen = observer.seen.clone();
        let events = watcher::watcher(triples.config_maps.clone(), config).default_backoff();
        observer.tasks.spawn(events.for_each(move |event| {
            seen.send_modify(|seen| seen.listed.config_maps |= seen.take(event, Seen::config_map_event));
            std::future::ready(())
        }));
        observer.until("the bench's own watches to list", timeout, |seen| seen.listed == Listed::BOTH).await?;
        Ok(observer)
    }

    /// Sets another wanted value.
    pub(crate) fn set_wanted(&self, value: &str) {
        self.seen.send_modify(|seen| seen.set_wanted(value));
    }

    /// Waits until the observed state satisfies a condition.
    pub(crate) async fn until(
        &self,
        what: &str,
        timeout: Duration,
        mut condition: impl FnMut(&Seen) -> bool,
    ) -> Result<()> {
        let mut seen = self.seen.subscribe();
        if let Ok(ended) = tokio::time::timeout(timeout, seen.wait_for(|seen| condition(seen))).await {
            return ended.map(|_| ()).context("the bench's watches have ended");
        }
        let seen = self.seen.borrow();
        let first = seen.parents.iter().enumerate().find(|(_, parent)| parent.right_at.is_none());
        let first = first.map_or_else(String::new, |(number, parent)| {
            format!("; the first, {}, was last seen as {parent:?}", parent_name(number))
        });
        bail!("waited {} s for {what}: {} parents are not right{first}", timeout.as_secs(), seen.wrong)
    }

    /// Reads the observed state.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        read(&self.seen.borrow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_converged_once_status_and_config_maps_show_the_value() {
        let mut seen = Seen::new(1);
        seen.set_wanted("a");
        seen.saw_parent(0, Some("a".to_owned()));
        for index in 0..CONFIG_MAPS {
            assert!(!seen.all_converged());
            seen.saw_config_map((0, index), Some((format!("uid-{index}"), "a".to_owned())));
        }
        assert!(seen.all_converged());
        seen.saw_config_map((0, 1), None);
        assert_eq!((seen.uid(0, 0), seen.uid(0, 1)), (Some("uid-0"), None));
        seen.set_wanted("b");
        assert!(!seen.all_converged());
        assert_eq!(seen.uid(0, 0), None);
    }
}
