//! All Providers as one state machine: who claims what, what the sources of modules hold, and the life of each. Events go in, effects
//! come out; nothing is read or written here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_contract::names::FILE_ANNOTATION;
use bartizan_contract::provider::{Provider, ProviderStatus};

use super::admission;
use super::claims::Claim;
use super::context::Context;
use super::declaration::{Declaration, DeclaredModule, FolderNote, NoteKind, for_both_versions};
use super::event::{ControllerEvent, Effect, Event, Now};
use super::life::{Follow, Life};
use super::source::{CheckReference, Snapshot, Wanted};

/// Numbers of parents are not written more often: with many parents they change all the time.
const COUNTED: Duration = Duration::from_secs(2);

/// What became of a declaration.
#[derive(Debug)]
struct Written {
    /// The Provider as it was declared.
    provider: Provider,
    /// The Provider as the file wants it, without what the version that serves keeps.
    wanted: Option<Provider>,
    /// The folder of the declaration, if nothing was written: another file of it may declare the same Provider.
    unwritten_in: Option<BTreeSet<String>>,
    /// Why it does not take effect, and the generation of the Provider then.
    note: Option<(FolderNote, Option<i64>)>,
}

impl Written {
    /// Whether the declaration is made again although it says the same: the Provider was made from another file, which kept this
    /// one out, and the folder has changed since. A Provider that somebody deleted, or that somebody else made, stays as it is.
    fn is_due_again(&self, existing: Option<&Provider>, files: &BTreeSet<String>) -> bool {
        let file = |provider: &Provider| provider.metadata.annotations.get(FILE_ANNOTATION).cloned();
        let made_from_another = existing.and_then(file).is_some_and(|existing| Some(existing) != file(&self.provider));
        // What stood in its way may be gone by an edit.
        let was_edited = self.note.as_ref().zip(existing).is_some_and(|((note, generation), existing)| {
            note.kind == NoteKind::Conflict && existing.metadata.generation != *generation
        });
        was_edited || made_from_another && self.unwritten_in.as_ref().is_some_and(|folder| folder != files)
    }
}

/// Whether the folder made a Provider for this module.
fn is_made_for(provider: &Provider, file: &str) -> bool {
    provider.spec.module.file.as_deref() == Some(file) && provider.metadata.annotations.contains_key(FILE_ANNOTATION)
}

/// All Providers.
#[derive(Debug)]
pub struct Fleet {
    check_reference: CheckReference,
    snapshot: Snapshot,
    folder: Vec<DeclaredModule>,
    /// What the folder declares, as it was written last, by the module's file.
    written: BTreeMap<String, Written>,
    /// What is being written. Nothing is decided meanwhile: a module and its declaration take effect together.
    declaring: BTreeMap<String, Written>,
    /// Whether one of those could not be written.
    declaration_failed: bool,
    lives: BTreeMap<String, Life>,
    claims: Arc<[Claim]>,
    wanted: Wanted,
    /// Whether it is known which Providers exist.
    is_listed: bool,
    /// Whether all of them were settled since.
    is_settled: bool,
    runs: u64,
    retry_at: Option<Instant>,
    /// Numbers of parents changed.
    count_at: Option<Instant>,
}

impl Fleet {
    /// One that knows nothing yet.
    #[must_use]
    pub fn new(check_reference: CheckReference) -> Self {
        Self {
            check_reference,
            snapshot: Snapshot::default(),
            folder: Vec::new(),
            written: BTreeMap::new(),
            declaring: BTreeMap::new(),
            declaration_failed: false,
            lives: BTreeMap::new(),
            claims: Arc::default(),
            wanted: Wanted::default(),
            is_listed: false,
            is_settled: false,
            runs: 0,
            retry_at: None,
            count_at: None,
        }
    }

    /// Takes an event, and says what is to be done. Effects are in order; each answer is an event of its own.
    pub fn on(&mut self, event: Event, now: &Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Catalog(snapshot, folder) => {
                (self.snapshot, self.folder) = (snapshot, folder);
                self.settle(now, &mut effects);
            }
            Event::Listed(providers) => {
                self.is_listed = true;
                let mut listed: BTreeMap<String, Provider> =
                    providers.into_iter().map(|provider| (provider.metadata.name.clone(), provider)).collect();
                for (name, life) in &mut self.lives {
                    life.observe(listed.remove(name));
                }
                for provider in listed.into_values() {
                    self.observe(provider);
                }
                self.settle(now, &mut effects);
            }
            Event::Applied(provider) => {
                self.observe(*provider);
                self.settle(now, &mut effects);
            }
            Event::Deleted(name) => {
                if let Some(life) = self.lives.get_mut(&name) {
                    life.observe(None);
                }
                self.settle(now, &mut effects);
            }
            Event::Declared { file, result, note } => self.declared(&file, result, note, now, &mut effects),
            Event::Controller { provider, run, event } => {
                let counted = matches!(event, ControllerEvent::Parents(_));
                let follow =
                    self.with(&provider, now, &mut effects, |life, context| life.controller(run, event, context));
                if counted {
                    self.count_at = self.count_at.or(Some(now.instant + COUNTED));
                }
                self.follow(&provider, follow, now, &mut effects);
            }
            Event::Answered { target, answer } => {
                let name = target.name.clone();
                let answered = |life: &mut Life, context: &mut Context<'_>| life.answered(&target, answer, context);
                let follow = self.with(&name, now, &mut effects, answered);
                self.follow(&name, follow, now, &mut effects);
            }
            Event::Tick => self.tick(now, &mut effects),
        }
        self.lives.retain(|_, life| !life.is_over());
        effects
    }

    /// When something is due that no event announces.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let starts = self.lives.values().filter_map(Life::start_due);
        starts.chain(self.retry_at).chain(self.count_at).min()
    }

    /// Digests of the modules that may still be needed, beside those that the sources hold.
    #[must_use]
    pub fn modules(&self) -> BTreeSet<Arc<str>> {
        self.lives.values().flat_map(Life::modules).collect()
    }

    /// The Providers that are known.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.lives.keys().map(String::as_str)
    }

    /// The status of a Provider; `None` if nothing is known of it yet.
    #[must_use]
    pub fn status(&self, provider: &str, now: &Now) -> Option<ProviderStatus> {
        self.lives.get(provider)?.status(now)
    }

    fn tick(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now.instant);
        // Whether a Provider may go depends on the numbers of parents.
        let is_counted = is_due(self.count_at);
        if is_counted {
            self.count_at = None;
        }
        let is_retried = is_due(self.retry_at);
        if is_retried {
            self.retry_at = None;
        }
        if is_retried || (is_counted && self.lives.values().any(Life::is_being_removed)) {
            self.settle(now, effects);
        }
        let names: Vec<String> = self.lives.keys().cloned().collect();
        for name in names {
            let passed = self.lives.get_mut(&name).is_some_and(|life| life.pass_start(now.instant));
            if passed || is_counted {
                self.follow(&name, Follow::Report, now, effects);
            }
        }
    }

    fn observe(&mut self, provider: Provider) {
        let name = provider.metadata.name.clone();
        self.lives.entry(name).or_insert_with_key(|name| Life::new(name)).observe(Some(provider));
    }

    /// A step in the life of one Provider.
    fn with(
        &mut self,
        name: &str,
        now: &Now,
        effects: &mut Vec<Effect>,
        step: impl FnOnce(&mut Life, &mut Context<'_>) -> Follow,
    ) -> Follow {
        let Some(life) = self.lives.get_mut(name) else { return Follow::Nothing };
        let (runs, retry_at) = (&mut self.runs, &mut self.retry_at);
        step(life, &mut Context { now, claims: &self.claims, runs, effects, retry_at })
    }

    fn follow(&mut self, name: &str, follow: Follow, now: &Now, effects: &mut Vec<Effect>) {
        let report = |life: &mut Life, context: &mut Context<'_>| {
            life.report(context);
            Follow::Nothing
        };
        match follow {
            Follow::Nothing => {}
            Follow::Report => {
                self.with(name, now, effects, report);
            }
            // What is being declared is settled once it is written.
            Follow::Settle if self.declaring.is_empty() => {
                self.with(name, now, effects, |life, context| {
                    life.settle(context);
                    Follow::Nothing
                });
            }
            Follow::Settle => {}
            Follow::SettleAll => self.settle(now, effects),
        }
    }

    /// Has written what the folder declares otherwise than it was written last; then settles all Providers.
    fn settle(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        if !self.declaring.is_empty() {
            return;
        }
        self.retry_at = None;
        let files = self.files();
        // Documents first: what a manifest of the same name asks for is never in force meanwhile.
        let (manifests, documents): (Vec<_>, Vec<_>) =
            self.folder.iter().partition(|module| module.by_manifest_of.is_some());
        for module in documents.into_iter().chain(manifests) {
            let life = module.provider.as_ref().and_then(|wanted| self.lives.get(&wanted.metadata.name));
            let (existing, served) = (life.and_then(Life::provider), life.and_then(Life::active_digest));
            let Some(provider) = for_both_versions(module, existing, served) else { continue };
            let before = self.written.get(&module.file);
            // Of a Provider that somebody deleted, there is no other version that keeps anything.
            let is_same = before.is_some_and(|before| {
                before.provider == provider || (existing.is_none() && before.wanted == module.provider)
            });
            if is_same && !before.is_some_and(|before| before.is_due_again(existing, &files)) {
                continue;
            }
            // Of two files that declare one Provider, the second is judged by what the first has made of it.
            if self.declaring.values().any(|other| other.provider.metadata.name == provider.metadata.name) {
                continue;
            }
            let file = module.file.clone();
            let written = Written {
                provider: provider.clone(),
                wanted: module.provider.clone(),
                unwritten_in: Some(files.clone()),
                note: None,
            };
            self.declaring.insert(file.clone(), written);
            let had_its_name = before.is_some_and(|before| before.provider.metadata.name == provider.metadata.name);
            let rewrites = had_its_name && !is_same;
            effects.push(Effect::Declare(Box::new(Declaration { file, provider, rewrites, files: files.clone() })));
        }
        if self.declaring.is_empty() {
            self.settle_all(now, effects);
        }
    }

    /// The files in the folder.
    fn files(&self) -> BTreeSet<String> {
        let modules = self.folder.iter().map(|module| module.file.clone());
        self.snapshot.files.iter().cloned().chain(modules).collect()
    }

    fn declared(
        &mut self,
        file: &str,
        result: Result<Option<Box<Provider>>, String>,
        note: Option<FolderNote>,
        now: &Now,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut declared) = self.declaring.remove(file) else { return };
        declared.note = note.map(|note| {
            let life = note.provider.as_ref().and_then(|name| self.lives.get(name));
            let generation = life.and_then(Life::provider).and_then(|provider| provider.metadata.generation);
            (note, generation)
        });
        match result {
            Ok(written) => {
                // Known at once, so that nothing is decided by what was there before.
                if let Some(written) = written {
                    declared.unwritten_in = None;
                    // It is what this file declares now, and no longer what another one did.
                    let name = &declared.provider.metadata.name;
                    self.written.retain(|_, other| other.provider.metadata.name != *name);
                    self.observe(*written);
                }
                self.written.insert(file.to_owned(), declared);
            }
            Err(_) => {
                let (runs, retry_at) = (&mut self.runs, &mut self.retry_at);
                Context { now, claims: &self.claims, runs, effects, retry_at }.retry();
                self.declaration_failed = true;
            }
        }
        if !self.declaring.is_empty() {
            return;
        }
        // What the folder came to hold meanwhile is declared as well; after a failure, not before the retry.
        match std::mem::take(&mut self.declaration_failed) {
            false => self.settle(now, effects),
            true => self.settle_all(now, effects),
        }
    }

    /// Tells each Provider what the folder declares of it and does not take effect.
    fn note(&mut self) {
        let mut notes: BTreeMap<String, FolderNote> = BTreeMap::new();
        for module in &self.folder {
            let written = self.written.get(&module.file).filter(|_| module.provider.is_some());
            let note = module.note.as_ref().or_else(|| written?.note.as_ref().map(|(note, _)| note));
            let Some(note) = note else { continue };
            let is_meant = |life: &Life| match &note.provider {
                Some(name) => life.provider().is_some_and(|provider| provider.metadata.name == *name),
                None => life.provider().is_some_and(|provider| is_made_for(provider, &module.file)),
            };
            let meant = self.lives.iter().filter(|(_, life)| is_meant(life)).map(|(name, _)| name.clone());
            meant.for_each(|name| {
                notes.entry(name).or_insert_with(|| note.clone());
            });
        }
        for (name, life) in &mut self.lives {
            life.note(notes.remove(name));
        }
    }

    fn settle_all(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        // As long as it is not known which exist, an absent one means nothing.
        if !self.is_listed {
            return;
        }
        let mut wanted = Wanted::default();
        for life in self.lives.values_mut() {
            life.admit(&self.snapshot, self.check_reference, &mut wanted);
        }
        if wanted != self.wanted {
            effects.push(Effect::Request(wanted.clone()));
            self.wanted = wanted;
        }
        self.note();
        self.claims = self.lives.values().filter_map(Life::claim).cloned().collect();
        let mut shadowed = admission::shadowed(&self.claims);
        let (claims, runs, retry_at) = (&self.claims, &mut self.runs, &mut self.retry_at);
        let mut context = Context { now, claims, runs, effects, retry_at };
        for (name, life) in &mut self.lives {
            life.shadow(shadowed.remove(name));
            life.settle(&mut context);
        }
        if !self.is_settled && !self.snapshot.is_loading {
            self.is_settled = true;
            effects.push(Effect::Known);
        }
    }
}
