//! A parent that never comes to rest: each decision on it writes children, what was written leads to the next decision, and that
//! one writes again. Nobody but the provider (its answer depends on what it just wrote) or another writer of the same children
//! can end that, so it is slowed down. No clock.

use std::sync::Arc;

use crate::object::Hash;

/// So many decisions in a row may write children of a parent that nobody edited. A right provider needs a few: one for each step
/// that can be seen only once the one before was written.
const PATIENCE: u32 = 20;

/// How often in a row decisions on one parent wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restless {
    /// The parent as it was edited last, and the module that was asked.
    about: Option<(Hash, Arc<str>)>,
    writes: u32,
}

impl Restless {
    /// Takes note of a decision that was executed. Whether the parent is restless: it wrote once more, as did too many before.
    pub fn decided(&mut self, parent: Hash, module: &Arc<str>, wrote: bool) -> bool {
        let about = Some((parent, module.clone()));
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

    /// Decides so often, and says whether the last one found it restless.
    fn writes(restless: &mut Restless, times: u32) -> bool {
        (0..times).fold(false, |_, _| restless.decided(PARENT, &"one".into(), true))
    }

    #[test]
    fn a_parent_that_is_written_too_often_in_a_row_is_restless_until_it_rests() {
        let mut restless = Restless::default();
        assert!(!writes(&mut restless, PATIENCE));
        assert!(writes(&mut restless, 1) && writes(&mut restless, 1));
        assert!(!restless.decided(PARENT, &"one".into(), false));
        assert!(!writes(&mut restless, PATIENCE));
    }

    #[test]
    fn an_edit_and_another_module_begin_anew() {
        for (parent, module) in [([1; 32], "one"), (PARENT, "two")] {
            let mut restless = Restless::default();
            assert!(writes(&mut restless, PATIENCE + 1));
            assert!(!restless.decided(parent, &module.into(), true));
            assert_eq!(restless.writes, 1);
        }
    }
}
