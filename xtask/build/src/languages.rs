//! Builds the hello providers in other languages than Rust with the tools of these languages.
//!
//! Nothing else needs these tools: on a machine without them, these modules are left out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

use crate::{Lock, Observer, key::Key, run_observed, target_dir, workspace_root};

/// A language that the hello provider is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// `examples/hello-js`
    JavaScript,
    /// `examples/hello-python`
    Python,
}

/// The result of a build that not every machine can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Module {
    /// The path of the component.
    Built(PathBuf),
    /// What is left out and what it needs, for the person who reads the output.
    LeftOut(String),
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::JavaScript, Self::Python];

    /// Name of the provider, and of its folder in `examples/`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JavaScript => "hello-js",
            Self::Python => "hello-python",
        }
    }

    /// The folder with its source.
    #[must_use]
    pub fn sources(self) -> PathBuf {
        workspace_root().join("examples").join(self.name())
    }

    /// The files that decide which tools are installed.
    fn pins(self) -> &'static [&'static str] {
        match self {
            Self::JavaScript => &[".npmrc", "package.json", "package-lock.json"],
            Self::Python => &["requirements.txt"],
        }
    }

    /// The files that the component is made from.
    fn code(self) -> &'static [&'static str] {
        match self {
            Self::JavaScript => &["build.js", "hello.js"],
            Self::Python => &["hello.py"],
        }
    }

    /// What is missing on this machine.
    fn missing(self) -> Option<&'static str> {
        let (needs, commands): (_, &[&[&str]]) = match self {
            Self::JavaScript => ("node and npm", &[&["node", "--version"], &["npm", "--version"]]),
            Self::Python => ("python3 with pip and venv", &[&["python3", "-c", "import ensurepip, pip, venv"]]),
        };
        (!commands.iter().all(|command| runs(command))).then_some(needs)
    }

    /// Installs the tools into a folder that holds the pins.
    fn install(self, folder: &Path, observer: Observer<'_>) -> Result<()> {
        let what = format!("the tools of {}", self.name());
        match self {
            // No script of any package is run: the tools need none.
            Self::JavaScript => {
                run_observed(&what, Command::new("npm").current_dir(folder).args(["ci", "--ignore-scripts"]), observer)
            }
            Self::Python => {
                let venv = ["-m", "venv", "--clear", "venv"];
                run_observed(&what, Command::new("python3").current_dir(folder).args(venv), observer)?;
                let pip = ["-m", "pip", "install", "--disable-pip-version-check", "-r", "requirements.txt"];
                run_observed(
                    &what,
                    Command::new(folder.join("venv/bin/python")).current_dir(folder).args(pip),
                    observer,
                )
            }
        }
    }

    /// Makes the component from the code in the same folder.
    fn componentize(self, folder: &Path, output: &Path, observer: Observer<'_>) -> Result<()> {
        let wit = workspace_root().join("wit");
        let mut command = match self {
            Self::JavaScript => {
                let mut node = Command::new("node");
                node.arg("build.js").arg(wit).arg(output);
                node
            }
            Self::Python => {
                let mut python = Command::new(folder.join("venv/bin/componentize-py"));
                python.arg("--wit-path").arg(wit).args(["--world", "plugin", "componentize", "--stub-wasi", "hello"]);
                python.arg("--output").arg(output);
                python
            }
        };
        run_observed(self.name(), command.current_dir(folder), observer)
    }
}

/// Builds the hello provider of a language into `target/languages/`. Half a minute the first time, milliseconds while its
/// folder and the contract stay what they were.
///
/// # Errors
/// When a tool fails, the error ends with the last lines of its output. A missing one is no error: [`Module::LeftOut`].
pub fn hello_in(language: Language, observer: Observer<'_>) -> Result<Module> {
    if let Some(needs) = language.missing() {
        return Ok(Module::LeftOut(format!(
            "the provider in examples/{}, which needs {needs} to be built",
            language.name()
        )));
    }
    let folder = target_dir().join("languages").join(language.name());
    let output = folder.join(language.name()).with_extension("wasm");
    let sources = language.sources();
    let _lock = Lock::take(&folder.with_extension("lock"))?;

    // A venv contains its own path, so that a copy of it in another target folder does not work.
    let place = folder.to_string_lossy();
    let tools = key(&place, &sources, language.pins())?;
    once(&folder.join("tools.key"), &tools, || {
        copy(&sources, language.pins(), &folder)?;
        language.install(&folder, observer)
    })?;
    let contract = key(&tools, &workspace_root().join("wit"), &["provider.wit"])?;
    once(&folder.join("module.key"), &key(&contract, &sources, language.code())?, || {
        copy(&sources, language.code(), &folder)?;
        // Renamed when complete, so that a failed tool leaves no half-written module under its name.
        let fresh = folder.join("fresh.wasm");
        language.componentize(&folder, &fresh, observer)?;
        fs::rename(&fresh, &output).with_context(|| format!("cannot replace {}", output.display()))
    })?;
    Ok(Module::Built(output))
}

/// Whether a command runs and exits with 0.
pub(crate) fn runs(command: &[&str]) -> bool {
    let [program, arguments @ ..] = command else { return false };
    let status =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Calls `make` unless the file says that it was done for this key.
fn once(file: &Path, key: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    if fs::read_to_string(file).is_ok_and(|made| made == key) {
        return Ok(());
    }
    // What fails half-way is made again, even for the previous key.
    let _ = fs::remove_file(file);
    make()?;
    fs::write(file, key).with_context(|| format!("cannot write {}", file.display()))
}

fn copy(from: &Path, names: &[&str], to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for name in names {
        fs::copy(from.join(name), to.join(name))
            .with_context(|| format!("cannot copy {name} from {}", from.display()))?;
    }
    Ok(())
}

/// A key that changes with any of these files, and with `base`.
fn key(base: &str, folder: &Path, names: &[&str]) -> Result<String> {
    let mut key = Key::new(base);
    for name in names {
        key = key.file(folder, name)?;
    }
    Ok(key.finish())
}

#[cfg(test)]
mod tests {
    use anyhow::{Result, bail};

    use super::{Language, once, runs};

    #[test]
    fn what_was_made_is_made_again_for_another_key_only_or_after_a_failure() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("key");
        let mut made = 0;
        for key in ["a", "a", "b"] {
            once(&file, key, || {
                made += 1;
                Ok(())
            })?;
        }
        assert_eq!(made, 2);
        assert!(once(&file, "c", || bail!("no")).is_err());
        once(&file, "b", || {
            made += 1;
            Ok(())
        })?;
        assert_eq!(made, 3);
        Ok(())
    }

    #[test]
    fn a_tool_that_is_not_there_is_missing_and_no_error() {
        assert!(!runs(&["bartizan-no-such-tool"]));
        assert!(!runs(&["false"]));
        assert!(runs(&["true"]));
    }

    #[test]
    fn every_file_that_decides_is_there() {
        for language in Language::ALL {
            for name in language.pins().iter().chain(language.code()) {
                assert!(language.sources().join(name).is_file(), "{name} of {}", language.name());
            }
        }
    }
}
