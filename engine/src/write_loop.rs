//! A parent that never comes to rest: each decision on it writes children, what was written leads to the next decision, and that
//! one writes again. Nobody but the provider (its answer depends on what it just wrote) or another writer of the same children
//! can end that, so it is slowed down. No clock.

use std::sync::Arc;

use serde_json::Value;

use crate::object::Hash;

/// So many decisions in a row may write children of a parent that nobody edited. A right provider needs a few: one for each step
/// that can be seen only once the one before was written.
const PATIENCE: u32 = 20;

/// How often in a row decisions on one parent wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteLoop {
    /// The parent as it was edited last, and who was asked: the module, and its settings.
    about: Option<(Hash, Arc<str>, Arc<Value>)>,
    writes: u32,
}

impl WriteLoop {
    /// Takes note of a decision that was executed. Whether the parent is in a loop: it wrote once more, as did too many before.
    pub fn decided(&mut self, parent: Hash, module: &Arc<str>, settings: &Arc<Value>, wrote: bool) -> bool {
        let about = Some((parent, module.clone(), settings.clone()));
        if !wrote || self.about != about {
            self.writes = 0;
        }
        self.about = about;
        self.writes = self.writes.saturating_add(u32::from(wrote));
        self.writes > PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: Hash = [0; 32];

    /// Decides once, in the words of a test.
    fn decided(write_loop: &mut WriteLoop, parent: Hash, module: &str, settings: u8, wrote: bool) -> bool {
        write_loop.decided(parent, &module.into(), &Arc::new(settings.into()), wrote)
    }

    /// Decides so often, and says whether the last one found it write_loop.
    fn writes(write_loop: &mut WriteLoop, times: u32) -> bool {
        (0..times).fold(false, |_, _| decided(write_loop, PARENT, "one", 1, true))
    }

    #[test]
    fn a_parent_that_is_written_too_often_in_a_row_is_in_a_loop_until_it_rests() {
        let mut write_loop = WriteLoop::default();
        assert!(!writes(&mut write_loop, PATIENCE));
        assert!(writes(&mut write_loop, 1) && writes(&mut write_loop, 1));
        assert!(!decided(&mut write_loop, PARENT, "one", 1, false));
        assert!(!writes(&mut write_loop, PATIENCE));
    }

    #[test]
    fn an_edit_another_module_and_other_settings_begin_anew() {
        for (parent, module, settings) in [([1; 32], "one", 1), (PARENT, "two", 1), (PARENT, "one", 2)] {
            let mut write_loop = WriteLoop::default();
            assert!(writes(&mut write_loop, PATIENCE + 1));
            assert!(!decided(&mut write_loop, parent, module, settings, true));
            assert_eq!(write_loop.writes, 1);
        }
    }
}
