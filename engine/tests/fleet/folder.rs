//! What the folder declares, as its files come and go.

use std::time::Instant;

use bartizan_contract::names::FILE_ANNOTATION;
use bartizan_contract::provider::{ModuleSource, Provider};
use bartizan_engine::provider::declaration::{Declaration, DeclaredModule, Verdict};
use bartizan_engine::provider::event::{Effect, Event, Now};
use bartizan_engine::provider::fleet::Fleet;
use bartizan_engine::provider::source::Snapshot;

use crate::world::provider;

fn declared(file: &str) -> DeclaredModule {
    let mut provider = Provider { spec: provider("hello", 1).spec, ..provider("hello", 1) };
    provider.spec.module = ModuleSource::file(file);
    provider.metadata.annotations.insert(FILE_ANNOTATION.to_owned(), file.to_owned());
    DeclaredModule { file: file.to_owned(), provider: Some(provider), by_manifest_of: None }
}

/// The folder holds these files now; what is to be declared.
fn folder(fleet: &mut Fleet, files: &[&str]) -> Vec<Declaration> {
    let declared = files.iter().map(|file| declared(file)).collect();
    let now = Now { instant: Instant::now(), time: "2026-01-01T00:00:00Z".to_owned() };
    let effects = fleet.on(Event::Catalog(Snapshot::default(), declared), &now);
    let declarations = effects.into_iter().filter_map(|effect| match effect {
        Effect::Declare(declaration) => Some(*declaration),
        _ => None,
    });
    declarations.collect()
}

fn answer(fleet: &mut Fleet, file: &str, written: Option<Provider>) {
    let now = Now { instant: Instant::now(), time: "2026-01-01T00:00:00Z".to_owned() };
    fleet.on(Event::Declared { file: file.to_owned(), result: Ok(written.map(Box::new)) }, &now);
}

#[test]
fn a_renamed_file_declares_its_provider_once_the_old_name_is_gone() {
    let mut fleet = Fleet::new(|_| Ok(()));
    let first = folder(&mut fleet, &["hello.wasm"]).remove(0);
    assert_eq!(first.verdict(None), Verdict::Write);
    let existing = first.provider.clone();
    answer(&mut fleet, "hello.wasm", Some(existing.clone()));

    // For a moment the folder has both names: the first one declares it.
    let both = folder(&mut fleet, &["greet.wasm", "hello.wasm"]);
    let verdicts: Vec<Verdict> = both.iter().map(|declaration| declaration.verdict(Some(&existing))).collect();
    let twice = Verdict::DeclaredTwice { by: "hello.wasm".to_owned(), and_by: "greet.wasm".to_owned() };
    assert_eq!(verdicts, [twice]);
    answer(&mut fleet, "greet.wasm", None);

    let renamed = folder(&mut fleet, &["greet.wasm"]);
    assert_eq!(renamed.len(), 1);
    assert_eq!(renamed[0].verdict(Some(&existing)), Verdict::Write);
    answer(&mut fleet, "greet.wasm", Some(renamed[0].provider.clone()));
    assert_eq!(folder(&mut fleet, &["greet.wasm"]), []);
}
