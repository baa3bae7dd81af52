//! Tells whether something must be built again: a key that changes with the inputs of a build.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;

use anyhow::{Context as _, Result};

/// A key in the making. Hashed by the standard library, whose algorithm may change with the compiler: then things are built
/// once more, and a crate for it would have to be compiled before everything else.
pub(crate) struct Key(DefaultHasher);

impl Key {
    /// Begins with a text: the version of a tool, its flags.
    pub(crate) fn new(base: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        base.hash(&mut hasher);
        Self(hasher)
    }

    /// Adds the name and the content of a file. Both are hashed with their length, so that two files never pass for one.
    pub(crate) fn file(mut self, folder: &Path, name: &str) -> Result<Self> {
        let path = folder.join(name);
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        name.hash(&mut self.0);
        content.hash(&mut self.0);
        Ok(self)
    }

    /// The key in hex digits.
    pub(crate) fn finish(self) -> String {
        format!("{:016x}", self.0.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_changes_with_any_file_and_with_its_base() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let key = |base: &str| {
            Ok::<_, anyhow::Error>(Key::new(base).file(folder.path(), "a")?.file(folder.path(), "b")?.finish())
        };
        fs::write(folder.path().join("a"), "xy")?;
        fs::write(folder.path().join("b"), "z")?;
        let before = key("")?;
        assert_eq!(key("")?, before);
        assert_ne!(key("base")?, before);
        fs::write(folder.path().join("a"), "x")?;
        fs::write(folder.path().join("b"), "yz")?;
        assert_ne!(key("")?, before);
        Ok(())
    }
}
