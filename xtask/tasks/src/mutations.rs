//! Changes the decisions of the engine in known ways, one at a time: the tests of engine and simulation must notice each. A
//! mutation that survives is a rule that no test holds.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use bartizan_harness::build;

use crate::folder;

/// One change of the source.
struct Mutation {
    /// What the host would do then.
    name: &'static str,
    /// The file, below `engine/src`.
    file: &'static str,
    /// What stands there, once.
    before: &'static str,
    /// What takes its place.
    after: &'static str,
}

/// All of them: `decide`, gate, plan, and the execution of a plan.
const MUTATIONS: [Mutation; 19] = [
    Mutation {
        name: "a child is written in a state that nobody has seen",
        file: "plan.rs",
        before: "Self::Exact { uid: seen.uid.clone(), resource_version: seen.resource_version.clone() }",
        after: "Self::Exact { uid: seen.uid.clone(), resource_version: String::new() }",
    },
    Mutation {
        name: "an orphaned child gets its owner back while its parent is deleted",
        file: "reconcile/execution.rs",
        before: "Reply::Parent(Ok(Some(parent))) if !parent.deleting =>",
        after: "Reply::Parent(Ok(Some(_))) =>",
    },
    Mutation {
        name: "later waves and prunes go on after a failed apply",
        file: "reconcile/execution.rs",
        before: "if !self.executed.is_complete() {",
        after: "if false {",
    },
    Mutation {
        name: "a taken name does not stop the prune",
        file: "plan.rs",
        before: "if self.blocked.is_none() { &self.deletes[..due] } else { &[] }",
        after: "&self.deletes[..due]",
    },
    Mutation {
        name: "the finalizer is removed although something failed",
        file: "reconcile/execution.rs",
        before: "self.plan.finalizer == FinalizerStep::Remove && self.executed.is_complete()",
        after: "self.plan.finalizer == FinalizerStep::Remove",
    },
    Mutation { name: "hold is ignored", file: "decide.rs", before: "if hold {", after: "if false {" },
    Mutation {
        name: "finalized is believed although nobody asked to finish",
        file: "gate.rs",
        before: "check_finalized(&response, input)?;",
        after: "",
    },
    Mutation {
        name: "a child may be in a namespace that was not granted",
        file: "gate.rs",
        before: "Some(namespace) if grant.covers(namespace, input.parent) =>",
        after: "Some(namespace) =>",
    },
    Mutation {
        name: "what is to be kept is pruned",
        file: "plan.rs",
        before: "!desired.contains(&child.key) && !input.keep.contains(&child.key)",
        after: "!desired.contains(&child.key)",
    },
    Mutation {
        name: "what somebody else owns is pruned",
        file: "plan.rs",
        before: "surplus.filter(|child| may_prune(child, input.parent, input.provider)) {",
        after: "surplus {",
    },
    Mutation {
        name: "labels alone prove ownership",
        file: "ownership.rs",
        before: "&& child.applied_by_host",
        after: "",
    },
    Mutation {
        name: "labels that somebody else set prove that a child may be ended",
        file: "ownership.rs",
        before: "child.labelled_by_host && is_ours(child, parent, provider)",
        after: "is_ours(child, parent, provider)",
    },
    Mutation {
        name: "waves are not applied in their order",
        file: "plan.rs",
        before: "plan.applies.sort_by_key(|apply| step(apply));",
        after: "",
    },
    Mutation {
        name: "a later wave is applied while an earlier one waits",
        file: "plan.rs",
        before: "self.blocked.is_none_or(|blocked| apply.intent.wave <= blocked)",
        after: "self.blocked.is_none_or(|_| apply.intent.wave <= u32::MAX)",
    },
    Mutation {
        name: "all waves are pruned together",
        file: "plan.rs",
        before: "self.deletes.iter().take_while(|delete| Some(delete.wave) == last).count()",
        after: "self.deletes.iter().take_while(|delete| last.is_some() && delete.wave < u32::MAX).count()",
    },
    Mutation {
        name: "what cannot be created again is deleted",
        file: "reconcile/recreate.rs",
        before: "Err(error) => Step::Kept(error),\n            },\n            Awaits::Holder",
        after: "Err(_) => self.look_up(),\n            },\n            Awaits::Holder",
    },
    Mutation {
        name: "a teardown begins with the first wave",
        file: "plan.rs",
        before: "doomed.iter().map(|child| child.marks.wave).max()",
        after: "doomed.iter().map(|child| child.marks.wave).min()",
    },
    Mutation {
        name: "what was restored loses its mark before it is adopted",
        file: "patch.rs",
        before: "if let (None, Some(uid)) = (&live.owner_uid, &live.marks.released_from) {",
        after: "if let (Some(_), Some(uid)) = (&live.owner_uid, &live.marks.released_from) {",
    },
    Mutation {
        name: "an edit of somebody else is not noticed",
        file: "plan.rs",
        before: "(*digest != child.digest).then_some(ApplyReason::Drifted)",
        after: "None",
    },
];

/// Whose tests must notice.
const TESTED: [&str; 4] = ["--package", "bartizan-engine", "--package", "bartizan-simulation"];
/// Where the closure is.
const CLOSURE: [&str; 4] = ["--package", "bartizan-simulation", "--test", "properties"];
/// What these tests are made of.
const CRATES: [&str; 3] = ["contract", "engine", "simulation"];

/// Makes each change in a copy of the sources, and runs the tests there; returns whether they noticed all.
pub(crate) fn all() -> Result<bool> {
    let root = build::workspace_root();
    let copy = tempfile::tempdir().context("temporary folder")?;
    for name in CRATES {
        folder::copy(&root.join(name), &copy.path().join(name))?;
    }
    std::fs::write(copy.path().join("Cargo.toml"), manifest(&read(&root.join("Cargo.toml"))?)?)?;
    std::fs::copy(root.join("Cargo.lock"), copy.path().join("Cargo.lock")).context("Cargo.lock")?;
    match try_tests(copy.path())? {
        Outcome::Passed => {}
        Outcome::Failed(text) => bail!("the tests fail without any change:\n{text}"),
        Outcome::NotCompiled => bail!("the copy does not compile"),
    }
    let (mut survivors, mut by_closure) = (Vec::new(), 0);
    for Mutation { name, file, before, after } in MUTATIONS {
        let file = copy.path().join("engine/src").join(file);
        let source = read(&file)?;
        std::fs::write(&file, source.replacen(before, after, 1))?;
        match try_tests(copy.path())? {
            Outcome::Failed(text) => match text.lines().filter_map(found_by).collect::<Vec<_>>() {
                found if found.is_empty() => println!("killed: {name}"),
                found => {
                    by_closure += 1;
                    println!("killed: {name} (closure: {})", found.join("; "));
                }
            },
            Outcome::Passed => survivors.push(name),
            Outcome::NotCompiled => bail!("this change does not compile: {name}"),
        }
        std::fs::write(&file, source)?;
    }
    survivors.iter().for_each(|name| println!("SURVIVED: {name}"));
    let killed = MUTATIONS.len() - survivors.len();
    println!("{killed} of {} mutations killed, {by_closure} of them by the closure", MUTATIONS.len());
    Ok(survivors.is_empty())
}

/// The workspace's manifest with the copied crates as its only members.
fn manifest(whole: &str) -> Result<String> {
    let (before, rest) = whole.split_once("members = [").context("Cargo.toml has no members")?;
    let (_, after) = rest.split_once(']').context("Cargo.toml has no end of members")?;
    // Profiles name packages that are not in the copy.
    let (after, _) = after.split_once("[profile.dev.package]").unwrap_or((after, ""));
    Ok(format!("{before}members = {CRATES:?}{after}"))
}

/// How the tests went.
enum Outcome {
    Passed,
    /// Some failed: what they printed.
    Failed(String),
    NotCompiled,
}

/// The search is asked first: what it finds needs no other tests.
fn try_tests(folder: &Path) -> Result<Outcome> {
    let run = |arguments: &[&str]| {
        let mut command = build::cargo();
        command.current_dir(folder).args(["test", "--quiet"]).args(arguments);
        command.arg("--target-dir").arg(build::target_dir().join("mutations"));
        // Less of what a surviving mutation would say anyway; failures are not kept as regressions.
        command.env("RUST_BACKTRACE", "0").env("PROPTEST_FAILURE_PERSISTENCE", "off");
        // What the closure finds, it finds early; it is asked for each change.
        command.env("BARTIZAN_CLOSURE_SECONDS", "1");
        command.output().context("cargo cannot be run")
    };
    if !run(&[&CLOSURE[..], &["--no-run"]].concat())?.status.success() {
        return Ok(Outcome::NotCompiled);
    }
    for arguments in
        [&[&CLOSURE[..], &["closure::", "--no-fail-fast"]].concat(), &[&TESTED[..], &["--no-fail-fast"]].concat()]
    {
        let tested = run(arguments)?;
        if !tested.status.success() {
            return Ok(Outcome::Failed(String::from_utf8_lossy(&tested.stdout).into_owned()));
        }
    }
    Ok(Outcome::Passed)
}

/// The world and the depth in a failure of the closure, as `Error: "prune, depth 2, 0 disturbances: ...`.
fn found_by(line: &str) -> Option<String> {
    let (world, rest) = line.trim().strip_prefix("Error: \"")?.split_once(", depth ")?;
    let (depth, rest) = rest.split_once(", ")?;
    let (disturbances, _) = rest.split_once(" disturbances: ")?;
    let (depth, disturbances) = (depth.parse::<u32>().ok()?, disturbances.parse::<u32>().ok()?);
    Some(format!("{world} at depth {depth} with {disturbances} disturbances"))
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutation_changes_one_place_of_the_engine() {
        for Mutation { name, file, before, .. } in MUTATIONS {
            let source = read(&build::workspace_root().join("engine/src").join(file)).unwrap();
            assert_eq!(source.matches(before).count(), 1, "{name}: {before:?} in {file}");
        }
    }

    #[test]
    fn a_failure_of_the_closure_names_its_world_and_depth() {
        let line = "Error: \"two hosts, depth 3, 1 disturbances: a foreign object was touched: {}\"";
        assert_eq!(found_by(line), Some("two hosts at depth 3 with 1 disturbances".to_owned()));
        assert_eq!(found_by("Error: \"something else: failed\""), None);
    }

    #[test]
    fn the_copy_is_a_workspace_of_the_engines_crates() {
        let whole = read(&build::workspace_root().join("Cargo.toml")).unwrap();
        let manifest = manifest(&whole).unwrap();
        assert!(manifest.contains("members = [\"contract\", \"engine\", \"simulation\"]"), "{manifest}");
    }
}
