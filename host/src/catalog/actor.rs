//! The actor that keeps the catalog: it follows the folder, ConfigMaps and registries, loads one module at a time on a thread of
//! its own, and publishes snapshots. Nothing waits for it, and it does not decide which module serves.

mod scan;

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

use super::config_maps::{ConfigMapEvent, ConfigMaps};
use super::documents::{
    BadModule, Declared, Document, DocumentError, FolderModule, Named, declare, document_names, named,
};
use super::fetch::try_load;
use super::folder::{self, EARLY_SCAN, SETTLE, Settling};
use super::module::recall;
use super::module_store::{Content, Load, ModuleStore, Outcome};
use super::registries::{self, Pull, Registries};
use super::snapshot::CatalogSnapshot;
use super::watch_folder::FolderWatch;
use super::{Library, Loaded, Origin, Trouble, Wanted};
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;

/// Settings of the catalog, fixed for the life of the process.
pub(crate) struct CatalogSettings {
    /// The folder of modules.
    pub(crate) folder: PathBuf,
    /// Whether a module without a document is granted what its manifest asks for.
    pub(crate) trust_manifests: bool,
    /// The host's own namespace.
    pub(crate) namespace: String,
    /// Folder for modules that were pulled from registries.
    pub(crate) cache: Option<PathBuf>,
    /// Certificate authorities of registries.
    pub(crate) authorities: Authorities,
}

/// The latest snapshot; `None` until the folder was scanned once. Modules that are still being loaded are named as such.
pub(crate) type Published = watch::Receiver<Option<Arc<CatalogSnapshot>>>;

/// The actor.
pub(crate) struct CatalogActor {
    settings: CatalogSettings,
    runtime: Runtime,
    health: Health,
    metrics: Metrics,
    store: ModuleStore,
    settling: Settling,
    watch: FolderWatch,
    folder_events: mpsc::Receiver<()>,
    config_maps: ConfigMaps,
    config_map_events: mpsc::Receiver<ConfigMapEvent>,
    registries: Registries,
    pulls: mpsc::Receiver<Pull>,
    wanted: watch::Receiver<Wanted>,
    now_wanted: Wanted,
    recalled: BTreeMap<String, Option<Loaded>>,
    /// Documents by file, as they settled.
    documents: BTreeMap<String, Result<String, DocumentError>>,
    /// Each module with its documents as they were when it was loaded last: both take effect together.
    modules: BTreeMap<String, FolderModule>,
    /// Modules that cannot serve, as last logged.
    logged: BTreeMap<String, BadModule>,
    /// What is wrong with the folder, as last logged.
    folder_problem: Option<String>,
    loads: JoinSet<(Load, Outcome)>,
    recalls: JoinSet<(String, Option<Loaded>)>,
    /// Modules of the folder that had a Provider at any time.
    ever_declared: BTreeSet<String>,
    /// Scans of the folder so far, which a start does not wait for without end.
    scans: u32,
    /// Whether the first scan is complete.
    scanned: bool,
    /// Whether all modules that the folder held at the start were loaded, or refused.
    is_loaded: bool,
    publish: watch::Sender<Option<Arc<CatalogSnapshot>>>,
}

/// Checks the folder of modules. That it does not exist yet is no error.
///
/// # Errors
/// If it is no folder, or cannot be read.
pub(crate) fn check_folder(folder: &Path) -> anyhow::Result<()> {
    folder::scan(folder).map(|_| ())
}

impl CatalogActor {
    /// An actor that has not started yet, and the receiver of its snapshots.
    pub(crate) fn new(
        settings: CatalogSettings,
        client: &Client,
        runtime: Runtime,
        health: Health,
        metrics: Metrics,
        wanted: watch::Receiver<Wanted>,
    ) -> (Self, Published) {
        let (publish, published) = watch::channel(None);
        let (watch, folder_events) = FolderWatch::new(&settings.folder);
        let (config_maps, config_map_events) = ConfigMaps::new(client, &settings.namespace);
        let (registries, pulls) = Registries::new(registries::Context {
            client: client.clone(),
            namespace: settings.namespace.clone(),
            authorities: settings.authorities.clone(),
            store: Store::open(settings.cache.as_deref()),
            limit: runtime.module_bytes(),
            memory: Semaphore::new(registries::MODULES_IN_MEMORY),
            busy: registries::Busy::default(),
        });
        let actor = Self {
            settings,
            runtime,
            health,
            metrics,
            store: ModuleStore::default(),
            settling: Settling::default(),
            watch,
            folder_events,
            config_maps,
            config_map_events,
            registries,
            pulls,
            wanted,
            now_wanted: Wanted::default(),
            recalled: BTreeMap::new(),
            documents: BTreeMap::new(),
            modules: BTreeMap::new(),
            logged: BTreeMap::new(),
            folder_problem: None,
            loads: JoinSet::new(),
            recalls: JoinSet::new(),
            ever_declared: BTreeSet::new(),
            scans: 0,
            scanned: false,
            is_loaded: false,
            publish,
        };
        (actor, published)
    }

    /// Runs until `stop` is cancelled.
    ///
    /// # Errors
    /// If a load panics: its origin would be loading for ever.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut scan_at = Instant::now();
        // At most one early scan between two full ones, since a file that is being copied changes all the time.
        let (mut early_scan_at, mut scanned_early) = (None, false);
        loop {
            self.store.retry(std::time::Instant::now());
            while let Some(load) = self.store.next() {
                self.load(load);
            }
            let retry = self.store.next_retry();
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(()) = self.folder_events.recv() => {
                    scan_at = scan_at.min(Instant::now() + SETTLE);
                    if !scanned_early {
                        early_scan_at.get_or_insert_with(|| Instant::now() + EARLY_SCAN);
                    }
                }
                () = tokio::time::sleep_until(early_scan_at.unwrap_or(scan_at)), if early_scan_at.is_some() => {
                    (early_scan_at, scanned_early) = (None, true);
                    self.scan_early().await?;
                }
                () = tokio::time::sleep_until(scan_at) => {
                    scan_at = Instant::now() + self.scan().await?;
                    scanned_early = false;
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
                () = tokio::time::sleep_until(retry.map_or_else(Instant::now, Instant::from)), if retry.is_some() => {}
                Some(event) = self.config_map_events.recv() => self.take_config_map(event),
                // Pulled modules are in memory: no more than two wait to be loaded.
                Some(pull) = self.pulls.recv(), if self.store.pulled() < 2 => self.take_pull(pull),
                Ok(()) = self.wanted.changed() => self.take_wanted(),
            }
        }
    }

    fn load(&mut self, load: Load) {
        if load.compiles && !load.is_ahead {
            info!(module = %load.origin, "compiling");
        }
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
                let Loaded { info, module } = loaded.as_ref();
                self.metrics.module_loaded(origin.word(), "loaded");
                let (version, digest, cached) = (&info.manifest.version, &*info.digest, module.from_cache());
                info!(module = %origin, version, digest, cached, "loaded");
            }
            Outcome::Refused(_) => {
                self.metrics.module_loaded(origin.word(), "refused");
                if let (Origin::Oci(origin), Content::Bytes(bytes)) = (origin, &load.content) {
                    self.registries.refused(origin, digest_of(bytes));
                }
            }
            Outcome::Same | Outcome::Changed | Outcome::NotCached | Outcome::Failed { .. } => {}
        }
        self.store.finish(load, outcome, std::time::Instant::now());
        self.publish();
    }

    fn take_config_map(&mut self, ConfigMapEvent { name, keys }: ConfigMapEvent) {
        for (key, found) in keys {
            // Sent before the watch ended.
            if !self.config_maps.is_watched(&name, &key) {
                continue;
            }
            let origin = Origin::ConfigMap { name: name.clone(), key };
            match found {
                Ok(bytes) => self.store.put(&origin, Content::Bytes(bytes)),
                // That a watch broke changes nothing about the known content: it lists again soon.
                Err(Trouble::Unavailable(reason)) if self.store.is_known(&origin) => warn!("{reason}; trying again"),
                Err(trouble) => self.store.fail(&origin, trouble),
            }
        }
        self.publish();
    }

    fn take_pull(&mut self, Pull { origin, result }: Pull) {
        // Sent before the origin was dropped.
        if !self.registries.is_followed(&origin) {
            return;
        }
        match result {
            Ok(bytes) => self.store.put(&Origin::Oci(origin), Content::Bytes(bytes)),
            Err(trouble) => self.store.fail(&Origin::Oci(origin), trouble),
        }
        self.publish();
    }

    fn take_wanted(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let (before, after) = (self.now_wanted.origins(), wanted.origins());
        for origin in before.difference(&after) {
            self.store.remove(origin);
        }
        for origin in after.difference(&before) {
            self.store.await_load(origin);
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

    /// What each document of the folder names.
    fn names(&self, files: &[String]) -> BTreeMap<String, Named> {
        let named = |text: &Result<String, DocumentError>| {
            let Ok(text) = text else { return Named::default() };
            let found = named(text);
            if found != Named::default() {
                return found;
            }
            // It cannot be read: what it may restrict is not left to a manifest.
            Named { module: files.iter().find(|file| text.contains(file.as_str())).cloned(), ..found }
        };
        self.documents.iter().map(|(file, text)| (file.clone(), named(text))).collect()
    }

    /// Publishes a snapshot, and logs which modules cannot serve. A module that is still being loaded is named as such: the others need
    /// not wait for it.
    fn publish(&mut self) {
        if !self.scanned {
            return;
        }
        let library = self.store.library();
        let files: Vec<String> = library.keys().filter_map(file_of).collect();
        self.modules.retain(|file, _| files.contains(file));
        let names = self.names(&files);
        let (mut strays, beside) = (Vec::new(), |file: &str| document_names(file));
        for (document, named) in &names {
            let is_beside = files.iter().any(|file| beside(file).contains(document));
            let module = named.module.as_ref().filter(|module| files.contains(module));
            if named.is_other && !is_beside {
                continue;
            }
            if !is_beside && module.is_none() {
                let wanted = named.module.as_deref().unwrap_or("module beside it");
                let reason = format!("there is no {wanted} in the folder for what this document declares");
                strays.push(BadModule { file: document.clone(), reason });
            }
        }
        for file in &files {
            if !self.store.is_pending(&Origin::File(file.clone())) {
                // A document of another name may say for which module it is.
                let others = names.iter().filter(|(document, named)| {
                    named.module.as_ref() == Some(file) && !files.iter().any(|file| beside(file).contains(document))
                });
                let names = beside(file).into_iter().chain(others.map(|(document, _)| document.clone()));
                let texts = names.filter_map(|name| {
                    let text = self.documents.get(&name)?.clone();
                    Some(Document { file: name, text })
                });
                self.modules.insert(file.clone(), FolderModule { file: file.clone(), documents: texts.collect() });
            }
        }
        let modules: Vec<FolderModule> = self.modules.values().cloned().collect();
        let (mut declared, undeclared) = declare(modules.clone(), self.settings.trust_manifests);
        let has_document =
            |file: &String| modules.iter().any(|module| module.file == *file && !module.documents.is_empty());
        let wrong = undeclared.iter().filter(|module| has_document(&module.file));
        let wrong = wrong.map(|module| (module.file.clone(), module.reason.clone())).collect();
        let copies = copies(&mut declared, &names, &library);
        let copied = copies.iter().map(|(file, (name, document))| BadModule {
            file: file.clone(),
            reason: format!("Provider {name} is declared by {document}, so that this module is not used; remove one"),
        });
        let undeclared: Vec<BadModule> = undeclared.into_iter().chain(strays).chain(copied).collect();
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
        for module in bad.values().filter(|module| self.logged.get(&module.file) != Some(module)) {
            error!("{module}");
        }
        self.ever_declared.extend(declared.keys().cloned());
        let could_serve =
            |file: &String| self.store.was_good(&Origin::File(file.clone())) && self.ever_declared.contains(file);
        // At the start, the host is not ready before the last module was loaded.
        if self.is_loaded || self.store.is_idle() {
            self.is_loaded = true;
            self.health.loaded(!files.is_empty() && !files.iter().any(could_serve));
        }
        self.logged = bad;
        let files = files.into_iter().chain(self.documents.keys().cloned()).collect();
        let is_loading = !self.is_loaded;
        let snapshot =
            CatalogSnapshot { is_loading, library, recalled: self.recalled.clone(), declared, wrong, copies, files };
        self.publish.send_replace(Some(Arc::new(snapshot)));
    }
}

/// Takes out the modules without documents whose manifests name the Provider of a document.
fn copies(
    declared: &mut BTreeMap<String, Declared>,
    names: &BTreeMap<String, Named>,
    library: &Library,
) -> BTreeMap<String, (String, String)> {
    let mut copies = BTreeMap::new();
    for file in declared.iter().filter(|(_, declared)| **declared == Declared::Manifest).map(|(file, _)| file) {
        let Some(Ok(loaded)) = library.get(&Origin::File(file.clone())) else { continue };
        let name = &loaded.info.manifest.name;
        let mut documents = names.iter().filter(|(_, named)| named.provider.as_ref() == Some(name));
        if let Some((document, _)) = documents.next() {
            copies.insert(file.clone(), (name.clone(), document.clone()));
        }
    }
    declared.retain(|file, _| !copies.contains_key(file));
    copies
}

fn file_of(origin: &Origin) -> Option<String> {
    match origin {
        Origin::File(file) => Some(file.clone()),
        Origin::ConfigMap { .. } | Origin::Oci(_) => None,
    }
}
