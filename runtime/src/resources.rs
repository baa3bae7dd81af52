//! Resources of one instance. The pool reserves what instances of almost all modules need. Instances that need more are
//! allocated on demand, up to a second, wider limit: this is memory of the host that no limit of a call covers, so a module that
//! exceeds it is refused when it is loaded.

use wasmparser::{MemorySectionReader, TableSectionReader};
use wasmtime::component::Component;

use crate::errors::LoadError;

/// Linear memories of an instance of the pool. Components from other languages may have two: their own and an adapter's.
pub(crate) const POOLED_MEMORIES: u32 = 4;
/// Tables of an instance of the pool: a component has one for its module and one for its imports.
pub(crate) const POOLED_TABLES: u32 = 8;
/// Elements of one table of the pool; interpreters of other languages have some 10,000 functions.
pub(crate) const POOLED_TABLE_ELEMENTS: usize = 40_000;
/// Core instances within one component of the pool; a component made by componentize-py has 38, as Python's libraries are
/// separate modules.
pub(crate) const POOLED_INSTANCES: u32 = 48;

/// Linear memories of any instance. Each reserves 4 GiB of address space.
pub(crate) const MEMORIES: u32 = 16;
/// Tables of any instance.
pub(crate) const TABLES: u32 = 64;
/// Elements of all tables together. A provider's tables hold its functions; 100,000 is far more than any has.
pub(crate) const TABLE_ELEMENTS: u32 = 100_000;
/// Core instances within any component.
pub(crate) const INSTANCES: usize = 64;
/// Functions, and globals, of one core module: each may take some 32 bytes per instance.
const ITEMS: u32 = 100_000;

/// Checks the memories of a core module before it is compiled.
pub(crate) fn check_memories(section: &MemorySectionReader<'_>) -> Result<(), LoadError> {
    check("memories", section.count(), MEMORIES)
}

/// Checks the tables of a core module before it is compiled.
pub(crate) fn check_tables(section: &TableSectionReader<'_>) -> Result<(), LoadError> {
    check("tables", section.count(), TABLES)?;
    // The validator has refused sections that cannot be read.
    let mut tables = section.clone().into_iter().flatten();
    tables.try_for_each(|table| check("elements in a table", table.ty.initial, TABLE_ELEMENTS))
}

/// Checks the number of functions or globals of a core module before it is compiled.
pub(crate) fn check_items(what: &'static str, count: u32) -> Result<(), LoadError> {
    check(what, count, ITEMS)
}

/// Checks what all modules of a component need together.
pub(crate) fn check_component(component: &Component) -> Result<(), LoadError> {
    let Some(required) = component.resources_required() else { return Ok(()) };
    check("memories", required.num_memories, MEMORIES)?;
    check("tables", required.num_tables, TABLES)
}

/// Whether an instance needs no more than its share of the pool, so that the pool does not run out of memories or tables before
/// it runs out of instances.
pub(crate) fn fit_the_pool(component: &Component) -> bool {
    component
        .resources_required()
        .is_none_or(|required| required.num_memories <= POOLED_MEMORIES && required.num_tables <= POOLED_TABLES)
}

fn check(what: &'static str, needed: impl Into<u64>, limit: u32) -> Result<(), LoadError> {
    let (needed, limit) = (needed.into(), u64::from(limit));
    if needed > limit { Err(LoadError::TooManyResources { what, needed, limit }) } else { Ok(()) }
}
