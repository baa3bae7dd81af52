//! What the folder declares, as its files come and go.

use std::time::Instant;

use bartizan_contract::names::FILE_ANNOTATION;
use bartizan_contract::provider::{Grants, ModuleSource};
use bartizan_engine::provider::declaration::{Declaration, DeclaredModule, Verdict};
use bartizan_engine::provider::event::{Effect, Event, Now};
use bartizan_engine::provider::fleet::Fleet;
use bartizan_engine::provider::source::Snapshot;
use serde_json::json;

use crate::world::provider;

/// A file that declares a Provider of this name.
fn declared(file: &str, name: &str) -> DeclaredModule {
    let mut provider = provider(name, 1);
    provider.spec.module = ModuleSource::file(file);
    provider.metadata.annotations.insert(FILE_ANNOTATION.to_owned(), file.to_owned());
    DeclaredModule { file: file.to_owned(), provider: Some(provider), by_manifest_of: None, note: None }
}

/// The grant of a core kind.
fn grants(kind: &str) -> Grants {
    serde_json::from_value(json!({"children": [{"group": "", "kinds": [kind]}]})).unwrap()
}

/// Something happens; what is to be declared.
fn on(fleet: &mut Fleet, event: Event) -> Vec<Declaration> {
    let now = Now { instant: Instant::now(), time: "2026-01-01T00:00:00Z".to_owned() };
    let declarations = fleet.on(event, &now).into_iter().filter_map(|effect| match effect {
        Effect::Declare(declaration) => Some(*declaration),
        _ => None,
    });
    declarations.collect()
}

/// The folder holds these files now, each of which declares the Provider `hello`.
fn folder(fleet: &mut Fleet, files: &[&str]) -> Vec<Declaration> {
    let declared = files.iter().map(|file| declared(file, "hello")).collect();
    on(fleet, Event::Catalog(Snapshot::default(), declared))
}

/// A declaration was written, or nothing was.
fn answer(fleet: &mut Fleet, declaration: &Declaration, written: bool) -> Vec<Declaration> {
    let result = Ok(written.then(|| Box::new(declaration.provider.clone())));
    on(fleet, Event::Declared { file: declaration.file.clone(), result, note: None })
}

fn empty() -> Fleet {
    let mut fleet = Fleet::new(|_| Ok(()));
    assert_eq!(on(&mut fleet, Event::Listed(Vec::new())), []);
    fleet
}

#[test]
fn a_renamed_file_declares_its_provider_once_the_old_name_is_gone() {
    let mut fleet = empty();
    let first = folder(&mut fleet, &["hello.wasm"]).remove(0);
    assert_eq!(first.verdict(None), Verdict::Write);
    let existing = first.provider.clone();
    assert_eq!(answer(&mut fleet, &first, true), []);

    // For a moment the folder has both names: the first one declares it.
    let both = folder(&mut fleet, &["greet.wasm", "hello.wasm"]);
    let verdicts: Vec<Verdict> = both.iter().map(|declaration| declaration.verdict(Some(&existing))).collect();
    let twice = Verdict::DeclaredTwice { by: "hello.wasm".to_owned(), and_by: "greet.wasm".to_owned() };
    assert_eq!(verdicts, [twice]);
    assert_eq!(answer(&mut fleet, &both[0], false), []);

    let renamed = folder(&mut fleet, &["greet.wasm"]);
    assert_eq!(renamed.len(), 1);
    assert_eq!(renamed[0].verdict(Some(&existing)), Verdict::Write);
    assert_eq!(answer(&mut fleet, &renamed[0], true), []);
    assert_eq!(folder(&mut fleet, &["greet.wasm"]), []);

    // And back again.
    let back = folder(&mut fleet, &["hello.wasm"]);
    assert_eq!(back.len(), 1);
    assert_eq!(back[0].verdict(Some(&renamed[0].provider)), Verdict::Write);
}

#[test]
fn a_deleted_provider_stays_away_whatever_other_files_come() {
    let mut fleet = Fleet::new(|_| Ok(()));
    let existing = declared("hello.wasm", "hello").provider.unwrap();
    on(&mut fleet, Event::Listed(vec![existing]));
    // After a restart it is there as declared.
    let declaration = folder(&mut fleet, &["hello.wasm"]).remove(0);
    assert_eq!(answer(&mut fleet, &declaration, false), []);

    assert_eq!(on(&mut fleet, Event::Deleted("hello".to_owned())), []);
    let files = vec![declared("hello.wasm", "hello"), declared("other.wasm", "other")];
    let declarations = on(&mut fleet, Event::Catalog(Snapshot::default(), files));
    let names: Vec<&str> = declarations.iter().map(|declaration| &*declaration.provider.metadata.name).collect();
    assert_eq!(names, ["other"]);
}

#[test]
fn a_provider_that_is_deleted_while_an_upgrade_waits_stays_away() {
    let mut fleet = empty();
    let first = folder(&mut fleet, &["hello.wasm"]).remove(0);
    let mut existing = first.provider.clone();
    existing.spec.grants = grants("Secret");
    existing.status.active = Some(serde_json::from_value(json!({"digest": "sha256:old", "version": "1.0.0"})).unwrap());
    assert_eq!(answer(&mut fleet, &first, true), []);
    on(&mut fleet, Event::Applied(Box::new(existing.clone())));

    // The next version asks for another kind; the one that serves keeps its own.
    let mut next = declared("hello.wasm", "hello");
    next.by_manifest_of = Some("sha256:new".into());
    next.provider.as_mut().unwrap().spec.grants = grants("Service");
    let both = on(&mut fleet, Event::Catalog(Snapshot::default(), vec![next])).remove(0);
    assert_eq!(both.provider.spec.grants, grants("Service").or(&grants("Secret")));
    let mut written = both.clone();
    written.provider.status = existing.status;
    assert_eq!(answer(&mut fleet, &written, true), []);

    assert_eq!(on(&mut fleet, Event::Deleted("hello".to_owned())), []);
}

#[test]
fn a_file_that_comes_during_a_declaration_is_declared_after_it() {
    let mut fleet = empty();
    let first = folder(&mut fleet, &["hello.wasm"]).remove(0);
    let files = vec![declared("hello.wasm", "hello"), declared("other.wasm", "other")];
    assert_eq!(on(&mut fleet, Event::Catalog(Snapshot::default(), files)), []);
    let names: Vec<String> =
        answer(&mut fleet, &first, true).iter().map(|declaration| declaration.file.clone()).collect();
    assert_eq!(names, ["other.wasm"]);
}

#[test]
fn of_two_files_that_declare_a_provider_the_second_is_judged_after_the_first() {
    let mut fleet = empty();
    let both = folder(&mut fleet, &["hello-1.wasm", "hello-2.wasm"]);
    assert_eq!(both.len(), 1);
    let second = answer(&mut fleet, &both[0], true);
    assert_eq!(second.len(), 1);
    let twice = Verdict::DeclaredTwice { by: "hello-1.wasm".to_owned(), and_by: "hello-2.wasm".to_owned() };
    assert_eq!(second[0].verdict(Some(&both[0].provider)), twice);
    assert_eq!(answer(&mut fleet, &second[0], false), []);
}
