//! Detects a parent that never settles: each decision writes children, the writes trigger the next decision, and that writes
//! again. Only the provider (whose answer depends on its own writes) or another writer of the same children can end that, so the
//! host backs off. Counts decisions and needs no clock.

use std::sync::Arc;

use serde_json::Value;

use crate::object::Hash;

/// Maximum number of consecutive decisions that write children of an unedited parent. A correct provider needs a few: one for
/// each step that depends on the result of the step before.
const MAX_CONSECUTIVE_WRITES: u32 = 20;

/// Counts consecutive decisions on one parent that wrote children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteLoop {
    /// What the count applies to: the parent as last edited, and the module and settings of its provider.
    about: Option<(Hash, Arc<str>, Arc<Value>)>,
    writes: u32,
}

impl WriteLoop {
    /// Records an executed decision. Returns whether the parent is in a write loop: this decision wrote, and so did too many
    /// before it.
    pub fn decided(&mut self, parent: Hash, module: &Arc<str>, settings: &Arc<Value>, wrote: bool) -> bool {
        let about = Some((parent, module.clone(), settings.clone()));
        if !wrote || self.about != about {
            self.writes = 0;
        }
        self.about = about;
        self.writes = self.writes.saturating_add(u32::from(wrote));
        self.writes > MAX_CONSECUTIVE_WRITES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: Hash = [0; 32];

    /// Records one decision.
    fn decided(write_loop: &mut WriteLoop, parent: Hash, module: &str, settings: u8, wrote: bool) -> bool {
        write_loop.decided(parent, &module.into(), &Arc::new(settings.into()), wrote)
    }

    /// Records this many decisions that wrote; returns whether the last one detected a loop.
    fn writes(write_loop: &mut WriteLoop, times: u32) -> bool {
        (0..times).fold(false, |_, _| decided(write_loop, PARENT, "one", 1, true))
    }

    #[test]
    fn too_many_consecutive_writes_are_a_loop_until_a_decision_writes_nothing() {
        let mut write_loop = WriteLoop::default();
        assert!(!writes(&mut write_loop, MAX_CONSECUTIVE_WRITES));
        assert!(writes(&mut write_loop, 1) && writes(&mut write_loop, 1));
        assert!(!decided(&mut write_loop, PARENT, "one", 1, false));
        assert!(!writes(&mut write_loop, MAX_CONSECUTIVE_WRITES));
    }

    #[test]
    fn an_edit_another_module_or_other_settings_reset_the_count() {
        for (parent, module, settings) in [([1; 32], "one", 1), (PARENT, "two", 1), (PARENT, "one", 2)] {
            let mut write_loop = WriteLoop::default();
            assert!(writes(&mut write_loop, MAX_CONSECUTIVE_WRITES + 1));
            assert!(!decided(&mut write_loop, parent, module, settings, true));
            assert_eq!(write_loop.writes, 1);
        }
    }
}
