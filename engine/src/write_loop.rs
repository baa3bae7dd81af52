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
pub struct Restless {
    /// The parent as it was edited last, and who was asked: the module, and its settings.
    about: Option<(Hash, Arc<str>, Arc<Value>)>,
    writes: u32,
}

impl Restless {
    /// Takes note of a decision that was executed. Whether the parent is restless: it wrote once more, as did too many before.
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
    fn decided(restless: &mut Restless, parent: Hash, module: &str, settings: u8, wrote: bool) -> bool {
        restless.decided(parent, &module.into(), &Arc::new(settings.into()), wrote)
    }

    /// Decides so often, and says whether the last one found it restless.
    fn writes(restless: &mut Restless, times: u32) -> bool {
        (0..times).fold(false, |_, _| decided(restless, PARENT, "one", 1, true))
    }

    #[test]
    fn a_parent_that_is_written_too_often_in_a_row_is_restless_until_it_rests() {
        let mut restless = Restless::default();
        assert!(!writes(&mut restless, PATIENCE));
        assert!(writes(&mut restless, 1) && writes(&mut restless, 1));
        assert!(!decided(&mut restless, PARENT, "one", 1, false));
        assert!(!writes(&mut restless, PATIENCE));
    }

    #[test]
    fn an_edit_another_module_and_other_settings_begin_anew() {
        for (parent, module, settings) in [([1; 32], "one", 1), (PARENT, "two", 1), (PARENT, "one", 2)] {
            let mut restless = Restless::default();
            assert!(writes(&mut restless, PATIENCE + 1));
            assert!(!decided(&mut restless, parent, module, settings, true));
            assert_eq!(restless.writes, 1);
        }
    }
}
