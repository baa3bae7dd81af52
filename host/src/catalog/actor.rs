//! The actor that keeps the catalogue: it looks at the folder and at ConfigMaps when something happens there, loads one module at
//! a time aside, and publishes what it knows. Nobody waits for it, and what serves is not its to decide.

mod look;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bartizan_contract::digest::digest_of;
use bartizan_registry::{Authorities, Store};
use bartizan_runtime::Runtime;
use kube::Client;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::config_maps::{self, ConfigMaps};
use super::fetch::{Holding, try_load};
use super::folder::{self, GLANCE, SETTLE, Settling};
use super::module_store::{Load, Outcome, Shelf};
use super::registries::{self, Registries};
use super::watch_folder::FolderWatch;
use super::{BadModule, Catalogue, Loaded, OciOrigin, Origin, Trouble, Wanted, recall};
use crate::declared::{Document, FolderModule, declare, document_names};

use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

/// What the catalogue is told at its start.
pub(crate) struct Settings {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// Whether a module without a document gets what it asks for.
    pub(crate) trust_manifests: bool,
    /// The host's own namespace.
    pub(crate) namespace: String,
    /// Where what registries sent is kept.
    pub(crate) cache: Option<PathBuf>,
    /// Whom registries may be signed by.
    pub(crate) authorities: Authorities,
}

/// The latest catalogue; none before the folder was read once.
pub(crate) type Published = watch::Receiver<Option<Arc<Catalogue>>>;

/// The actor.
pub(crate) struct Catalog {
    settings: Settings,
    runtime: Runtime,
    health: Health,
    metrics: Metrics,
    shelf: Shelf,
    settling: Settling,
    watch: FolderWatch,
    happened: mpsc::Receiver<()>,
    config_maps: ConfigMaps,
    seen: mpsc::Receiver<config_maps::News>,
    registries: Registries,
    pulled: mpsc::Receiver<registries::News>,
    wanted: watch::Receiver<Wanted>,
    now_wanted: Wanted,
    recalled: BTreeMap<String, Option<Loaded>>,
    /// Texts of the documents by file, as they settled.
    documents: BTreeMap<String, String>,
    /// Each module with its documents as they were when it was loaded last: both take effect together.
    modules: BTreeMap<String, FolderModule>,
    /// What cannot serve, as last said.
    said: BTreeMap<String, BadModule>,
    problem: Option<String>,
    loads: JoinSet<(Load, Outcome)>,
    recalls: JoinSet<(String, Option<Loaded>)>,
    /// Files of which it was known once what they may do.
    ever_declared: BTreeSet<String>,
    /// How often the folder was looked at while something in it had not settled.
    looks: u32,
    scanned: bool,
    publish: watch::Sender<Option<Arc<Catalogue>>>,
}

/// Looks whether there is a folder that can be read, or none yet.
///
/// # Errors
/// If it is no folder, or cannot be read.
pub(crate) fn check(folder: &Path) -> anyhow::Result<()> {
    folder::scan(folder).map(|_| ())
}

impl Catalog {
    /// An actor that has not looked at anything yet, and where it publishes.
    pub(crate) fn new(
        settings: Settings,
        client: &Client,
        runtime: Runtime,
        health: Health,
        metrics: Metrics,
        wanted: watch::Receiver<Wanted>,
    ) -> (Self, Published) {
        let (publish, published) = watch::channel(None);
        let (watch, happened) = FolderWatch::new(&settings.folder);
        let (config_maps, seen) = ConfigMaps::new(client, &settings.namespace);
        let (registries, pulled) = Registries::new(registries::Context {
            client: client.clone(),
            namespace: settings.namespace.clone(),
            authorities: settings.authorities.clone(),
            store: Store::open(settings.cache.as_deref()),
            limit: runtime.module_bytes(),
            turns: Semaphore::new(registries::AT_A_TIME),
        });
        let catalog = Self {
            settings,
            runtime,
            health,
            metrics,
            shelf: Shelf::default(),
            settling: Settling::default(),
            watch,
            happened,
            config_maps,
            seen,
            registries,
            pulled,
            wanted,
            now_wanted: Wanted::default(),
            recalled: BTreeMap::new(),
            documents: BTreeMap::new(),
            modules: BTreeMap::new(),
            said: BTreeMap::new(),
            problem: None,
            loads: JoinSet::new(),
            recalls: JoinSet::new(),
            ever_declared: BTreeSet::new(),
            looks: 0,
            scanned: false,
            publish,
        };
        (catalog, published)
    }

    /// Works until told to stop.
    ///
    /// # Errors
    /// If a load ends in a panic: its origin would wait for ever.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut scan_at = Instant::now();
        // Once between two scans: a file that is copied for a while changes all the time.
        let (mut glance_at, mut glanced) = (None, false);
        loop {
            while let Some(load) = self.shelf.next() {
                self.load(load);
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(()) = self.happened.recv() => {
                    scan_at = scan_at.min(Instant::now() + SETTLE);
                    if !glanced {
                        glance_at.get_or_insert_with(|| Instant::now() + GLANCE);
                    }
                }
                () = tokio::time::sleep_until(glance_at.unwrap_or(scan_at)), if glance_at.is_some() => {
                    (glance_at, glanced) = (None, true);
                    self.glance().await?;
                }
                () = tokio::time::sleep_until(scan_at) => {
                    scan_at = Instant::now() + self.scan().await?;
                    glanced = false;
                }
                Some(ended) = self.loads.join_next() => {
                    let (load, outcome) = ended.context("a module could not be loaded")?;
                    self.finish(&load, outcome);
                }
                Some(ended) = self.recalls.join_next() => {
                    let (digest, loaded) = ended.context("a module could not be recalled")?;
                    self.recalled.insert(digest, loaded);
                    self.publish();
                }
                Some((name, seen)) = self.seen.recv() => self.take_config_map(&name, seen),
                // Whatever waits is in memory, so the next one comes when the last is done with.
                Some((origin, pulled)) = self.pulled.recv(), if self.shelf.is_idle() => self.take_pulled(origin, pulled),
                Ok(()) = self.wanted.changed() => self.take_wanted(),
            }
        }
    }

    fn load(&mut self, load: Load) {
        let runtime = self.runtime.clone();
        self.loads.spawn_blocking(move || {
            let outcome = try_load(&runtime, &load);
            (load, outcome)
        });
    }

    fn finish(&mut self, load: &Load, outcome: Outcome) {
        let origin = &load.origin;
        match &outcome {
            _ if load.is_ahead => {}
            Outcome::Loaded(loaded) => {
                let Loaded { manifest, module, .. } = loaded.as_ref();
                self.metrics.module_loaded(origin.word(), "loaded");
                let (version, digest, cached) = (&manifest.version, module.digest(), module.from_cache());
                info!(module = %origin, version, digest, cached, "loaded");
            }
            Outcome::Refused(_) => {
                self.metrics.module_loaded(origin.word(), "refused");
                if let (Origin::Oci(origin), Holding::Bytes(bytes)) = (origin, &load.holding) {
                    self.registries.refused(origin, digest_of(bytes));
                }
            }
            Outcome::Same | Outcome::Changed => {}
        }
        self.shelf.finish(load, outcome);
        self.publish();
    }

    fn take_config_map(&mut self, name: &str, seen: BTreeMap<String, config_maps::Seen>) {
        for (key, seen) in seen {
            // Told before the watch was ended.
            if !self.config_maps.is_watched(name, &key) {
                continue;
            }
            let origin = Origin::ConfigMap { name: name.to_owned(), key };
            match seen {
                Ok(bytes) => self.shelf.put(&origin, Holding::Bytes(bytes)),
                // A watch that breaks says nothing about what is known: it lists again soon.
                Err(Trouble::Unavailable(reason)) if self.shelf.is_known(&origin) => warn!("{reason}; trying again"),
                Err(trouble) => self.shelf.fail(&origin, trouble),
            }
        }
        self.publish();
    }

    fn take_pulled(&mut self, origin: OciOrigin, pulled: Result<bytes::Bytes, Trouble>) {
        // Told before it was let go.
        if !self.registries.is_followed(&origin) {
            return;
        }
        match pulled {
            Ok(bytes) => self.shelf.put(&Origin::Oci(origin), Holding::Bytes(bytes)),
            Err(trouble) => self.shelf.fail(&Origin::Oci(origin), trouble),
        }
        self.publish();
    }

    fn take_wanted(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let (before, after) = (self.now_wanted.origins(), wanted.origins());
        for origin in before.difference(&after) {
            self.shelf.remove(origin);
        }
        for origin in after.difference(&before) {
            self.shelf.await_load(origin);
        }
        self.config_maps.watch(&wanted.config_maps);
        self.registries.follow(&wanted.oci);
        self.recalled.retain(|digest, _| wanted.digests.contains(digest));
        for digest in wanted.digests.difference(&self.now_wanted.digests).cloned() {
            let runtime = self.runtime.clone();
            self.recalls.spawn_blocking(move || {
                let loaded = recall(&runtime, &digest);
                (digest, loaded)
            });
        }
        self.now_wanted = wanted;
        self.publish();
    }

    /// Publishes what is known, and says what cannot serve. Not before everything that was in the folder at first was loaded, so
    /// that a start says nothing of modules that are only on their way.
    fn publish(&mut self) {
        if !self.scanned || (self.publish.borrow().is_none() && !self.shelf.is_idle()) {
            return;
        }
        let library = self.shelf.library();
        let files: Vec<String> = library.keys().filter_map(file_of).collect();
        self.modules.retain(|file, _| files.contains(file));
        for file in &files {
            if !self.shelf.is_pending(&Origin::File(file.clone())) {
                let texts = document_names(file).into_iter().filter_map(|name| {
                    let text = self.documents.get(&name)?.clone();
                    Some(Document { file: name, text })
                });
                self.modules.insert(file.clone(), FolderModule { file: file.clone(), documents: texts.collect() });
            }
        }
        let modules = self.modules.values().cloned().collect();
        let (declared, undeclared) = declare(modules, self.settings.trust_manifests);
        let refused = library.iter().filter_map(|(origin, state)| match state {
            Err(Trouble::Invalid(reason) | Trouble::Unavailable(reason)) => {
                Some(BadModule { file: origin.to_string(), reason: reason.clone() })
            }
            _ => None,
        });
        let mut bad: BTreeMap<String, BadModule> = BTreeMap::new();
        for module in refused.chain(undeclared) {
            bad.entry(module.file.clone()).or_insert(module);
        }
        for module in bad.values().filter(|module| self.said.get(&module.file) != Some(module)) {
            error!("{module}");
        }
        self.ever_declared.extend(declared.keys().cloned());
        let could_serve =
            |file: &String| self.shelf.was_good(&Origin::File(file.clone())) && self.ever_declared.contains(file);
        self.health.loaded(!files.is_empty() && !files.iter().any(could_serve));
        self.said = bad;
        let files = files.into_iter().chain(self.documents.keys().cloned()).collect();
        let catalogue = Catalogue { library, recalled: self.recalled.clone(), declared, files };
        self.publish.send_replace(Some(Arc::new(catalogue)));
    }
}

fn file_of(origin: &Origin) -> Option<String> {
    match origin {
        Origin::File(file) => Some(file.clone()),
        Origin::ConfigMap { .. } | Origin::Oci(_) => None,
    }
}
