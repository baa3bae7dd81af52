//! A Provider that is served with version 1.0.0, and what may happen to it.

use std::sync::Arc;

use bartizan_contract::names::APPROVE_ANNOTATION;
use bartizan_contract::provider::Provider;
use bartizan_engine::provider::module::ModuleInfo;

use crate::world::{World, module, provider};

pub(crate) const MINIO: &str = "minio";

pub(crate) fn first() -> ModuleInfo {
    module("sha256:1", "1.0.0", &[])
}

/// A module that may take over with the same watches and rights.
pub(crate) fn alike() -> ModuleInfo {
    module("sha256:2", "1.1.0", &[])
}

/// A module that needs a controller of its own.
pub(crate) fn other() -> ModuleInfo {
    let mut other = module("sha256:3", "2.0.0", &[]);
    Arc::make_mut(&mut other.manifest).sensitive.push("/spec/key".to_owned());
    other
}

/// A module that asks for more than the first one, and is granted it.
pub(crate) fn wanting() -> ModuleInfo {
    module("sha256:3", "2.0.0", &["Service"])
}

/// A module that asks for more than is granted.
pub(crate) fn greedy() -> ModuleInfo {
    module("sha256:4", "3.0.0", &["Secret"])
}

/// One Provider, listed, with its module, and served.
pub(crate) fn served() -> World {
    let mut world = World::new(&[provider(MINIO, 2)]);
    world.publish(MINIO, Some(Ok(first())));
    world.answer_all();
    world.begin(world.last_run(MINIO));
    world.answer_all();
    world.done(MINIO);
    world
}

pub(crate) fn find(world: &mut World, delete: u32) {
    world.find(world.last_run(MINIO), |_| delete);
    world.answer_all();
}

pub(crate) fn approve(world: &mut World, approval: &str) {
    world.edit(MINIO, |provider| {
        provider.metadata.annotations.insert(APPROVE_ANNOTATION.to_owned(), approval.to_owned());
    });
    world.answer_all();
}

pub(crate) fn ask_to_delete(provider: &mut Provider) {
    provider.metadata.deletion_timestamp = Some("2026-02-01T00:00:00Z".to_owned());
}
