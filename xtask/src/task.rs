//! The tasks, and what must be built before each can run.

/// Something to build; the builds of a task run side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// The control plane, a Go program.
    ControlPlane,
    /// The tasks themselves, and these other programs of the workspace, with one cargo.
    Programs(&'static [&'static str]),
    /// The module of a shipped provider.
    Module(&'static str),
}

/// One task of `cargo xtask`.
pub(crate) struct Task {
    pub(crate) name: &'static str,
    /// What `--help` prints, its first line what the task does, as `bartizan-tasks` would: `cargo xtask generate` writes these files.
    pub(crate) help: &'static str,
    /// Whether it needs Go when called with these arguments.
    pub(crate) needs_go: fn(&[String]) -> bool,
    /// What it needs when called with these arguments.
    pub(crate) builds: fn(&[String]) -> Vec<Build>,
}

/// Rigs that need neither a cluster nor a host.
const WITHOUT_CLUSTER: [&str; 2] = ["lives", "mutations"];

/// All tasks, in the order in which `--help` lists them.
pub(crate) const TASKS: [Task; 8] = [
    Task {
        name: "demo",
        help: include_str!("help/demo.txt"),
        needs_go: |_| true,
        builds: |arguments| {
            vec![Build::ControlPlane, Build::Programs(&["bartizan"]), Build::Module(demo_provider(arguments))]
        },
    },
    Task {
        name: "test",
        help: include_str!("help/test.txt"),
        needs_go: |arguments| !arguments.iter().any(|argument| argument == "--no-e2e"),
        // The host with it, which the steps need anyway. The rest is built beside the lints.
        builds: |_| vec![Build::Programs(&["bartizan"])],
    },
    Task {
        name: "rig",
        help: include_str!("help/rig.txt"),
        needs_go: |arguments| arguments.first().is_none_or(|name| !WITHOUT_CLUSTER.contains(&name.as_str())),
        builds: |arguments| match arguments.first() {
            Some(name) if WITHOUT_CLUSTER.contains(&name.as_str()) => vec![Build::Programs(&[])],
            _ => vec![Build::ControlPlane, Build::Programs(&["bartizan", "bartizan-rig"])],
        },
    },
    Task {
        name: "bench",
        help: include_str!("help/bench.txt"),
        needs_go: |arguments| arguments.first().is_none_or(|figure| figure != "hop"),
        builds: |_| vec![Build::Programs(&[])],
    },
    Task {
        name: "cluster",
        help: include_str!("help/cluster.txt"),
        needs_go: |_| true,
        builds: |_| vec![Build::ControlPlane, Build::Programs(&[])],
    },
    Task {
        name: "kubectl",
        help: include_str!("help/kubectl.txt"),
        needs_go: |_| true,
        builds: |_| vec![Build::ControlPlane, Build::Programs(&[])],
    },
    Task {
        name: "image",
        help: include_str!("help/image.txt"),
        needs_go: |_| false,
        builds: |_| vec![Build::Programs(&[])],
    },
    Task {
        name: "generate",
        help: include_str!("help/generate.txt"),
        needs_go: |_| false,
        builds: |_| vec![Build::Programs(&["bartizan"])],
    },
];

/// The provider that the demo shows: MinIO unless told otherwise. A wrong name is for `bartizan-tasks` to refuse.
fn demo_provider(arguments: &[String]) -> &'static str {
    if arguments.iter().any(|argument| argument == "cassandra") { "cassandra" } else { "minio" }
}

/// What a task does, in a line.
fn summary(task: &Task) -> &'static str {
    task.help.lines().next().unwrap_or_default()
}

/// What `cargo xtask --help` prints.
pub(crate) fn overview() -> String {
    let mut lines = vec![
        "The tasks of this project".to_owned(),
        String::new(),
        "Usage: cargo xtask <TASK> [OPTIONS]".to_owned(),
        String::new(),
        "Tasks:".to_owned(),
    ];
    lines.extend(TASKS.iter().map(|task| format!("  {:<9} {}", task.name, summary(task))));
    lines.push(String::new());
    lines.push("`cargo xtask <TASK> --help` describes the options of a task.".to_owned());
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str) -> &'static Task {
        TASKS.iter().find(|task| task.name == name).unwrap()
    }

    fn builds(words: &[&str]) -> Vec<Build> {
        let arguments: Vec<String> = words[1..].iter().map(|word| (*word).to_owned()).collect();
        (task(words[0]).builds)(&arguments)
    }

    #[test]
    fn the_demo_builds_the_provider_that_it_shows_and_nothing_for_tests() {
        let programs = Build::Programs(&["bartizan"]);
        assert_eq!(builds(&["demo", "--once"]), [Build::ControlPlane, programs, Build::Module("minio")]);
        assert_eq!(builds(&["demo", "cassandra"]), [Build::ControlPlane, programs, Build::Module("cassandra")]);
    }

    #[test]
    fn go_is_needed_only_where_a_control_plane_is() {
        let needs_go = |words: &[&str]| {
            let arguments: Vec<String> = words[1..].iter().map(|word| (*word).to_owned()).collect();
            (task(words[0]).needs_go)(&arguments)
        };
        for with in [&["demo"][..], &["test"], &["rig", "crash"], &["bench", "scale"], &["cluster"], &["kubectl"]] {
            assert!(needs_go(with), "{with:?}");
        }
        for without in
            [&["test", "--no-e2e"][..], &["rig", "lives"], &["rig", "mutations"], &["bench", "hop"], &["generate"]]
        {
            assert!(!needs_go(without), "{without:?}");
        }
    }

    #[test]
    fn the_overview_lists_every_task_with_its_summary() {
        let overview = overview();
        for task in &TASKS {
            let summary = summary(task);
            assert!(!summary.is_empty(), "{}", task.name);
            assert!(overview.contains(&format!("  {:<9} {summary}", task.name)), "{}", task.name);
        }
    }
}
