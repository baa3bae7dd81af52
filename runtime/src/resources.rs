//! What one instance may consist of. The pool reserves it, so a module that needs more is refused when it is loaded
//! rather than at its first call.

use wasmparser::{MemorySectionReader, TableSectionReader};
use wasmtime::component::Component;

use crate::LoadError;

/// Linear memories of one instance. A component of another language may have two: its own and an adapter's.
pub(crate) const MEMORIES_PER_INSTANCE: u32 = 4;
/// Tables of one instance: a component has one for its module and one for its imports.
pub(crate) const TABLES_PER_INSTANCE: u32 = 8;
/// Elements that one table of the pool may have; interpreters of other languages have some 10,000 functions.
pub(crate) const TABLE_ELEMENTS: usize = 40_000;
/// Core modules within one component.
pub(crate) const MODULES_PER_INSTANCE: u32 = 32;

const MEMORIES: &str = "memories";
const TABLES: &str = "tables";
const ELEMENTS: &str = "elements in a table";

/// Checks one core module's memories, before it is compiled.
pub(crate) fn check_memories(section: &MemorySectionReader<'_>) -> Result<(), LoadError> {
    check(MEMORIES, u64::from(section.count()), u64::from(MEMORIES_PER_INSTANCE))
}

/// Checks one core module's tables, before it is compiled.
pub(crate) fn check_tables(section: &TableSectionReader<'_>) -> Result<(), LoadError> {
    check(TABLES, u64::from(section.count()), u64::from(TABLES_PER_INSTANCE))?;
    // What cannot be read was refused by the validator.
    section.clone().into_iter().flatten().try_for_each(|table| check(ELEMENTS, table.ty.initial, TABLE_ELEMENTS as u64))
}

/// Checks what all modules of a component need together.
pub(crate) fn check_component(component: &Component) -> Result<(), LoadError> {
    let Some(required) = component.resources_required() else { return Ok(()) };
    check(MEMORIES, u64::from(required.num_memories), u64::from(MEMORIES_PER_INSTANCE))?;
    check(TABLES, u64::from(required.num_tables), u64::from(TABLES_PER_INSTANCE))
}

fn check(what: &'static str, needed: u64, limit: u64) -> Result<(), LoadError> {
    if needed > limit { Err(LoadError::TooManyResources { what, needed, limit }) } else { Ok(()) }
}
