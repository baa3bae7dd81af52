use super::*;

#[test]
fn metrics_have_the_names_help_and_types_that_prometheus_expects() {
    let metrics = Metrics::default();
    let minio = metrics.of("minio");
    minio.reconciled("applied");
    minio.reconciled("applied");
    minio.called(Duration::from_micros(60));
    minio.called(Duration::from_secs(20));
    minio.wrote("apply");
    minio.refused();
    minio.parents("ObjectStore.minio.rook.io", ConditionStatus::True, 3);
    minio.waiting(1);
    minio.reconciled_in(Duration::from_millis(20));
    minio.waited(Duration::from_secs(20));
    metrics.requested("apply", Some(200));
    metrics.requested("watch", None);
    minio.swapped();
    metrics.module_loaded("file", "loaded");
    let kind = Kind::new("apps", "v1", "StatefulSet");
    minio.breaker("serve", true);
    minio.watch_up(&kind, true);
    metrics.leads(true);
    let text = metrics.render().unwrap();
    for expected in [
        "# TYPE bartizan_reconciles_total counter\nbartizan_reconciles_total{provider=\"minio\",result=\"applied\"} 2\n",
        "# HELP bartizan_provider_calls_total Calls of the provider's module.\n# TYPE bartizan_provider_calls_total counter\nbartizan_provider_calls_total{provider=\"minio\"} 2\n",
        "# TYPE bartizan_provider_call_duration_seconds histogram\n",
        "bartizan_provider_call_duration_seconds_bucket{provider=\"minio\",le=\"5e-05\"} 0\n",
        "bartizan_provider_call_duration_seconds_bucket{provider=\"minio\",le=\"0.0001\"} 1\n",
        "bartizan_provider_call_duration_seconds_bucket{provider=\"minio\",le=\"10\"} 1\n",
        "# TYPE bartizan_writes_total counter\nbartizan_writes_total{provider=\"minio\",verb=\"apply\"} 1\n",
        "# TYPE bartizan_gate_refusals_total counter\nbartizan_gate_refusals_total{provider=\"minio\"} 1\n",
        "bartizan_provider_call_duration_seconds_bucket{provider=\"minio\",le=\"60\"} 2\n",
        "bartizan_reconcile_duration_seconds_bucket{provider=\"minio\",le=\"0.025\"} 1\n",
        "bartizan_queue_wait_seconds_bucket{provider=\"minio\",le=\"10\"} 0\n",
        "bartizan_api_requests_total{verb=\"apply\",code=\"200\"} 1\n",
        "bartizan_api_requests_total{verb=\"watch\",code=\"error\"} 1\n",
        "# TYPE bartizan_parents gauge\nbartizan_parents{provider=\"minio\",kind=\"ObjectStore.minio.rook.io\",synced=\"True\"} 3\n",
        concat!(
            "# TYPE bartizan_build_info gauge\nbartizan_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1\n"
        ),
        "# TYPE bartizan_queue_depth gauge\nbartizan_queue_depth{provider=\"minio\"} 1\n",
        "# TYPE bartizan_breaker_open gauge\nbartizan_breaker_open{provider=\"minio\",calls=\"serve\"} 1\n",
        "# TYPE bartizan_module_loads_total counter\nbartizan_module_loads_total{source=\"file\",result=\"loaded\"} 1\n",
        "# TYPE bartizan_module_swaps_total counter\nbartizan_module_swaps_total{provider=\"minio\"} 1\n",
        "# TYPE leader_election_master_status gauge\nleader_election_master_status{name=\"bartizan\"} 1\n",
        "# TYPE bartizan_watch_up gauge\nbartizan_watch_up{provider=\"minio\",kind=\"StatefulSet.apps/v1\"} 1\n",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    if cfg!(target_os = "linux") {
        for name in ["cpu_seconds_total", "resident_memory_bytes", "start_time_seconds", "open_fds", "max_fds"] {
            assert!(text.contains(&format!("\nprocess_{name} ")), "{name}\n{text}");
        }
    }
    let load = &metrics.loads()["minio"];
    assert_eq!((load.queue, load.watches.values().collect::<Vec<_>>()), (1, vec![&true]));
    minio.watch_ended(&kind);
    assert!(metrics.loads()["minio"].watches.is_empty());
    assert!(!metrics.render().unwrap().contains("StatefulSet"));
}

/// All of them, with their types: dashboards and alerts go by these.
#[test]
fn these_are_all_families() {
    let metrics = Metrics::default();
    let minio = metrics.of("minio");
    let kind = Kind::new("apps", "v1", "StatefulSet");
    metrics.provider(&provider("minio", "1.0.0"));
    minio.reconciled("applied");
    minio.wrote("apply");
    minio.ignored(1);
    minio.parents("ObjectStore.minio.rook.io", ConditionStatus::True, 1);
    minio.swapped();
    minio.breaker("serve", true);
    minio.watch_up(&kind, true);
    minio.watch_event(&kind);
    metrics.requested("get", None);
    metrics.module_loaded("file", "loaded");
    metrics.leads(true);
    let text = metrics.render().unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut found: Vec<&str> = types.filter(|line| !line.starts_with("process_")).collect();
    found.sort_unstable();
    let expected = [
        "bartizan_api_requests_total counter",
        "bartizan_breaker_open gauge",
        "bartizan_build_info gauge",
        "bartizan_gate_refusals_total counter",
        "bartizan_ignored_objects_total counter",
        "bartizan_module_loads_total counter",
        "bartizan_module_swaps_total counter",
        "bartizan_parents gauge",
        "bartizan_provider_call_duration_seconds histogram",
        "bartizan_provider_calls_total counter",
        "bartizan_provider_condition gauge",
        "bartizan_provider_info gauge",
        "bartizan_queue_depth gauge",
        "bartizan_queue_wait_seconds histogram",
        "bartizan_reconcile_duration_seconds histogram",
        "bartizan_reconciles_total counter",
        "bartizan_tasks gauge",
        "bartizan_watch_last_event_timestamp_seconds gauge",
        "bartizan_watch_up gauge",
        "bartizan_writes_total counter",
        "leader_election_master_status gauge",
    ];
    assert_eq!(found, expected);
    let without_help = found
        .iter()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| !text.contains(&format!("# HELP {name} ")));
    assert_eq!(without_help, None);
}

fn provider(name: &str, version: &str) -> Provider {
    let object = serde_json::json!({
        "apiVersion": "bartizan.dev/v1alpha1", "kind": "Provider", "metadata": {"name": name},
        "spec": {"module": {"file": "minio.wasm"}},
        "status": {
            "active": {"version": version, "digest": format!("sha256:{version}")},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Ready"}],
        },
    });
    serde_json::from_value(object).unwrap()
}

fn series_of(metrics: &Metrics, provider: &str) -> Vec<String> {
    let label = format!("provider=\"{provider}\"");
    metrics.render().unwrap().lines().filter(|line| line.contains(&label)).map(str::to_owned).collect()
}

#[test]
fn a_condition_has_one_status_and_a_provider_one_version() {
    let metrics = Metrics::default();
    metrics.provider(&provider("minio", "1.0.0"));
    metrics.provider(&provider("minio", "1.1.0"));
    let expected = [
        "bartizan_provider_condition{provider=\"minio\",type=\"Ready\",status=\"False\"} 0",
        "bartizan_provider_condition{provider=\"minio\",type=\"Ready\",status=\"True\"} 1",
        "bartizan_provider_condition{provider=\"minio\",type=\"Ready\",status=\"Unknown\"} 0",
        "bartizan_provider_info{provider=\"minio\",version=\"1.1.0\",digest=\"sha256:1.1.0\"} 1",
    ];
    let mut found = series_of(&metrics, "minio");
    found.sort();
    assert_eq!(found, expected);
}

/// Everything that a Provider can be seen doing: no number of parents adds a series, and none outlives the Provider.
#[test]
fn the_series_of_a_provider_are_few_and_end_with_it() {
    let metrics = Metrics::default();
    for name in ["minio", "other"] {
        let of = metrics.of(name);
        metrics.provider(&provider(name, "1.0.0"));
        for parents in 0..10_000 {
            of.parents("ObjectStore.minio.rook.io", ConditionStatus::False, parents);
        }
        for result in ["applied", "held", "waiting", "failed", "unchanged"] {
            of.reconciled(result);
        }
        for verb in ["apply", "status", "patch", "delete", "event"] {
            of.wrote(verb);
        }
        of.reconciled_in(Duration::ZERO);
        of.waited(Duration::ZERO);
        of.called(Duration::ZERO);
        of.refused();
        of.ignored(1);
        of.swapped();
        of.waiting(1);
        of.breaker("serve", true);
        let kind = Kind::new("apps", "v1", "StatefulSet");
        of.watch_up(&kind, true);
        of.watch_event(&kind);
    }
    let series = series_of(&metrics, "minio").len();
    assert!(series < 100, "{series}");
    metrics.forget("minio");
    assert_eq!(series_of(&metrics, "minio"), Vec::<String>::new());
    assert_eq!(series_of(&metrics, "other").len(), series);
}
