//! How a member's database is started: image, environment, arguments, memory.

use bartizan_sdk::json::{WriteJson, lazy};
use bartizan_sdk::kubernetes::{variable, variable_of_pod};
use bartizan_sdk::object;
use bartizan_sdk::storage::Resources;

use super::services;
use crate::spec::{ClusterRequest, Mode, RackSpec};

/// The default images.
const CASSANDRA: &str = "docker.io/library/cassandra";
const SCYLLA: &str = "docker.io/scylladb/scylla";
/// Reads the member's own rack from a file and learns those of others by gossip.
const SNITCH: &str = "GossipingPropertyFileSnitch";

const MEBIBYTE: i128 = 1 << 20;
const GIBIBYTE: i128 = 1 << 30;

/// The variables that are derived from other fields of the spec.
pub(crate) const OWN_VARIABLES: [&str; 13] = [
    "POD_NAME",
    "POD_IP",
    "SEEDS",
    "CASSANDRA_SEEDS",
    "CASSANDRA_CLUSTER_NAME",
    "CASSANDRA_DC",
    "CASSANDRA_RACK",
    "CASSANDRA_ENDPOINT_SNITCH",
    "CASSANDRA_LISTEN_ADDRESS",
    "CASSANDRA_BROADCAST_ADDRESS",
    "CASSANDRA_BROADCAST_RPC_ADDRESS",
    "MAX_HEAP_SIZE",
    "HEAP_NEWSIZE",
];

/// The image of the members.
pub(super) fn image(request: &ClusterRequest<'_>) -> String {
    let default = match request.spec.mode() {
        Mode::Cassandra => CASSANDRA,
        Mode::Scylla => SCYLLA,
    };
    format!("{}:{}", request.spec.repository.as_deref().unwrap_or(default), request.spec.version)
}

/// The data directory.
pub(super) fn data_path(mode: Mode) -> &'static str {
    match mode {
        Mode::Cassandra => "/var/lib/cassandra",
        Mode::Scylla => "/var/lib/scylla",
    }
}

/// Copies the files of a rack's ConfigMap over those of the image, then runs the image's entrypoint.
pub(super) fn command(mode: Mode, config: &str) -> [String; 4] {
    let (folder, start) = match mode {
        Mode::Cassandra => ("/etc/cassandra", "exec docker-entrypoint.sh cassandra -f"),
        Mode::Scylla => ("/etc/scylla", "exec /docker-entrypoint.py \"$@\""),
    };
    let script = format!("cp -L {config}/* {folder}/ && {start}");
    ["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]
}

/// The arguments of ScyllaDB; Cassandra's image is configured by environment variables instead.
pub(super) fn arguments(
    request: &ClusterRequest<'_>,
    spec: &RackSpec,
    resources: Option<&Resources>,
) -> Option<Vec<String>> {
    if request.spec.mode() == Mode::Cassandra {
        return None;
    }
    let address = services::address(request, "$(POD_NAME)");
    let mut arguments = vec![
        format!("--cluster-name={}", request.name()),
        "--seeds=$(SEEDS)".to_owned(),
        "--listen-address=$(POD_IP)".to_owned(),
        format!("--broadcast-address={address}"),
        format!("--broadcast-rpc-address={address}"),
        format!("--endpoint-snitch={SNITCH}"),
        format!("--dc={}", request.spec.datacenter.name),
        format!("--rack={}", spec.name),
        // The node is shared with other pods.
        "--overprovisioned=1".to_owned(),
    ];
    let cores = resources.and_then(|resources| resources.amount("cpu"));
    arguments.extend(cores.map(|cores| format!("--smp={}", cores.max(1))));
    Some(arguments)
}

/// The environment of a member, in a fixed order: derived variables first, then those of the spec.
pub(super) fn environment<'a>(
    request: &'a ClusterRequest<'_>,
    spec: &'a RackSpec,
    resources: Option<&Resources>,
) -> impl WriteJson + 'a {
    let heap = resources.and_then(|resources| resources.amount("memory")).map(heap);
    lazy(move |writer| {
        writer.begin_list();
        writer.item(&variable_of_pod("POD_NAME", "metadata.name"));
        writer.item(&variable_of_pod("POD_IP", "status.podIP"));
        let cassandra = request.spec.mode() == Mode::Cassandra;
        let (map, key) = (services::seeds_name(request), services::SEEDS_KEY);
        writer.item(&object!({
            "name": if cassandra { "CASSANDRA_SEEDS" } else { "SEEDS" },
            "valueFrom": {"configMapKeyRef": {"name": map, "key": key}},
        }));
        if cassandra {
            let address = services::address(request, "$(POD_NAME)");
            for (name, value) in [
                ("CASSANDRA_CLUSTER_NAME", request.name()),
                ("CASSANDRA_DC", &request.spec.datacenter.name),
                ("CASSANDRA_RACK", &spec.name),
                ("CASSANDRA_ENDPOINT_SNITCH", SNITCH),
                ("CASSANDRA_LISTEN_ADDRESS", "$(POD_IP)"),
                ("CASSANDRA_BROADCAST_ADDRESS", &address),
                ("CASSANDRA_BROADCAST_RPC_ADDRESS", &address),
            ] {
                writer.item(&variable(name, value));
            }
            // Cassandra requires both or neither.
            for (name, mebibytes) in heap.iter().flat_map(|heap| [("MAX_HEAP_SIZE", *heap), ("HEAP_NEWSIZE", heap / 4)])
            {
                writer.item(&variable(name, &format!("{}M", mebibytes.max(1))));
            }
        }
        request.spec.env.iter().for_each(|variable| writer.item(variable));
        writer.end_list();
    })
}

/// The heap in MiB of a member with this much memory in bytes, by the rule of `cassandra-env.sh`:
/// max(min(memory / 2, 1 GiB), min(memory / 4, 8 GiB)).
pub(super) fn heap(memory: i128) -> i128 {
    (memory / 2).min(GIBIBYTE).max((memory / 4).min(8 * GIBIBYTE)) / MEBIBYTE
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::heap;

    #[rstest]
    #[case::half_of_a_small_memory(1, 512)]
    #[case::at_most_one_gibibyte_of_it(3, 1024)]
    #[case::a_quarter_of_a_larger_one(8, 2048)]
    #[case::and_at_most_eight(64, 8192)]
    fn the_heap_follows_the_memory(#[case] gibibytes: i128, #[case] mebibytes: i128) {
        assert_eq!(heap(gibibytes << 30), mebibytes);
    }
}
