//! Reads the API server's audit log: who requested what, counted by request and not by log line.
//!
//! The API server writes a line when a request arrives, a line when a watch starts its response, and a line when the
//! response is complete, all three before or as the client sees it. One [`AuditRequest`] stands for all lines of a
//! request and has the last stage that was reached.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead, BufReader, Seek, SeekFrom},
    path::Path,
};

use anyhow::{Context, Result};
use serde::Deserialize;

/// A position in the audit log; the default one is its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditMark(u64);

/// How far a request has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum AuditStage {
    /// It has arrived and not been answered yet.
    RequestReceived,
    /// A watch that is open: its response has started and not ended.
    ResponseStarted,
    /// It has been answered.
    ResponseComplete,
    /// The API server failed in the middle of it.
    Panic,
}

/// A request that a user made to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRequest {
    /// The user name, as in `system:serviceaccount:bartizan-system:bartizan`: the sender, also of an impersonated
    /// request.
    pub user: String,
    /// The user that the sender impersonates, if any.
    pub impersonated_user: Option<String>,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for non-resource requests
    /// such as `/version` the HTTP method in lower case.
    pub verb: String,
    /// The path with the query.
    pub uri: String,
    /// The API group, empty for the core one and for non-resource requests.
    pub group: String,
    /// The plural, as in `statefulsets`, empty for non-resource requests.
    pub resource: String,
    /// As in `status`, empty for the object itself.
    pub subresource: String,
    /// Empty for cluster-scoped resources and requests across all namespaces.
    pub namespace: String,
    /// Empty for lists, and for creates with a generated name.
    pub name: String,
    /// The HTTP status of the response, if it has started.
    pub code: Option<u16>,
    /// When it arrived, RFC 3339 in UTC with microseconds.
    pub time: String,
    /// The client's `User-Agent`.
    pub user_agent: String,
    /// The last stage in the log.
    pub stage: AuditStage,
}

impl AuditRequest {
    /// Whether it is a watch, which clients keep open at rest.
    pub fn is_watch(&self) -> bool {
        self.verb == "watch"
    }

    /// Whether it is a write, whether or not it was allowed. Access reviews have the form of creates, and change
    /// nothing.
    pub fn is_write(&self) -> bool {
        self.group != "authorization.k8s.io"
            && matches!(
                self.verb.as_str(),
                "create" | "update" | "patch" | "delete" | "deletecollection" | "post" | "put"
            )
    }
}

/// The fields of a log line that we need.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "auditID")]
    id: String,
    stage: AuditStage,
    verb: String,
    #[serde(rename = "requestURI")]
    uri: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(default)]
    user_agent: String,
    object_ref: Option<ObjectReference>,
    response_status: Option<ResponseStatus>,
    request_received_timestamp: String,
}

#[derive(Deserialize)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectReference {
    api_group: String,
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    code: Option<u16>,
}

impl From<Event> for AuditRequest {
    fn from(event: Event) -> Self {
        let object = event.object_ref.unwrap_or_default();
        Self {
            user: event.user.username,
            impersonated_user: event.impersonated_user.map(|user| user.username),
            verb: event.verb,
            uri: event.uri,
            group: object.api_group,
            resource: object.resource,
            subresource: object.subresource,
            namespace: object.namespace,
            name: object.name,
            code: event.response_status.and_then(|status| status.code),
            time: event.request_received_timestamp,
            user_agent: event.user_agent,
            stage: event.stage,
        }
    }
}

/// The current end of the log.
pub(crate) fn mark(log: &Path) -> Result<AuditMark> {
    let metadata = fs::metadata(log).with_context(|| format!("cannot read the audit log {}", log.display()))?;
    Ok(AuditMark(metadata.len()))
}

/// The requests of a user that arrived after the mark, in that order.
pub(crate) fn requests(log: &Path, mark: AuditMark, user: &str) -> Result<Vec<AuditRequest>> {
    let mut requests: Vec<AuditRequest> = Vec::new();
    let mut positions: HashMap<String, usize> = HashMap::new();
    each_event(log, mark, user, |event| match positions.get(&event.id) {
        Some(&position) => update(&mut requests[position], event.into()),
        // A request that arrived before the mark has its first line before it, too.
        None if event.stage == AuditStage::RequestReceived => {
            positions.insert(event.id.clone(), requests.len());
            requests.push(event.into());
        }
        None => {}
    })?;
    Ok(requests)
}

/// Visits each request of a user that arrived after the mark as it was then, unanswered, and returns the end of the
/// log. Uses constant memory, however long the log is.
pub(crate) fn visit(
    log: &Path,
    mark: AuditMark,
    user: &str,
    mut visitor: impl FnMut(AuditRequest),
) -> Result<AuditMark> {
    each_event(log, mark, user, |event| {
        if event.stage == AuditStage::RequestReceived {
            visitor(event.into());
        }
    })
}

/// Reads the lines about a user after the mark, and returns the position to resume from.
fn each_event(log: &Path, mark: AuditMark, user: &str, mut handle: impl FnMut(Event)) -> Result<AuditMark> {
    let cannot_read = || format!("cannot read the audit log {}", log.display());
    let mut file = File::open(log).with_context(cannot_read)?;
    // A mark may be in the middle of a line that was being written: the rest of it, or the end of the one before, is
    // skipped.
    let mut end = AuditMark(mark.0.saturating_sub(1));
    file.seek(SeekFrom::Start(end.0)).with_context(cannot_read)?;
    let mut reader = BufReader::new(file);
    let mut line = String::new();
    if mark != AuditMark::default() {
        let read = reader.skip_until(b'\n').with_context(cannot_read)?;
        end.0 += read as u64;
    }
    loop {
        line.clear();
        let read = reader.read_line(&mut line).with_context(cannot_read)?;
        // A last line without its end is still being written.
        if !line.ends_with('\n') {
            return Ok(end);
        }
        end.0 += read as u64;
        // Most lines are about the controllers: not worth parsing.
        if !line.contains(user) {
            continue;
        }
        let event: Event =
            serde_json::from_str(&line).with_context(|| format!("cannot parse a line of {}: {line}", log.display()))?;
        if event.user.username == user {
            handle(event);
        }
    }
}

/// Updates a request from a later line.
fn update(request: &mut AuditRequest, later: AuditRequest) {
    if later.stage >= request.stage {
        *request = later;
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use anyhow::Result;
    use serde_json::json;

    use super::{AuditMark, AuditStage, mark, requests, visit};

    fn line(id: &str, user: &str, verb: &str, stage: &str, code: Option<u16>) -> String {
        let mut event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
            "auditID": id, "stage": stage, "verb": verb, "requestURI": "/api/v1/namespaces/a/secrets/s",
            "user": { "username": user, "groups": ["system:authenticated"] },
            "userAgent": "test", "sourceIPs": ["127.0.0.1"],
            "objectRef": { "resource": "secrets", "namespace": "a", "name": "s", "apiVersion": "v1" },
            "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
            "stageTimestamp": "2026-01-01T00:00:00.000000Z",
        });
        if let Some(code) = code {
            event["responseStatus"] = json!({ "metadata": {}, "code": code });
        }
        format!("{event}\n")
    }

    #[test]
    fn the_lines_of_a_request_count_once_and_an_open_watch_counts() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("audit.log");
        fs::write(
            &log,
            [
                line("1", "alice", "get", "RequestReceived", None),
                line("2", "alice", "watch", "RequestReceived", None),
                line("3", "alice-two", "get", "RequestReceived", None),
                line("1", "alice", "get", "ResponseComplete", Some(403)),
                line("2", "alice", "watch", "ResponseStarted", Some(200)),
            ]
            .concat(),
        )?;
        let found = requests(&log, AuditMark::default(), "alice")?;
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].verb.as_str(), found[0].code), ("get", Some(403)));
        assert_eq!(found[0].resource, "secrets");
        assert!(found[1].is_watch());
        assert_eq!(found[1].stage, AuditStage::ResponseStarted);
        Ok(())
    }

    #[test]
    fn impersonation_counts_for_the_sender_and_an_access_review_is_no_write() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("audit.log");
        let mut event: serde_json::Value =
            serde_json::from_str(&line("1", "alice", "create", "RequestReceived", None))?;
        event["impersonatedUser"] = json!({ "username": "bob" });
        let written = event.to_string();
        event["auditID"] = json!("2");
        event["objectRef"] = json!({ "apiGroup": "authorization.k8s.io", "resource": "selfsubjectaccessreviews" });
        fs::write(&log, format!("{written}\n{event}\n"))?;
        let found = requests(&log, AuditMark::default(), "alice")?;
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].impersonated_user.as_deref(), Some("bob"));
        assert!(found[0].is_write() && !found[1].is_write());
        assert!(requests(&log, AuditMark::default(), "bob")?.is_empty());
        Ok(())
    }

    #[test]
    fn a_request_that_began_before_the_mark_does_not_count() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("audit.log");
        fs::write(&log, line("1", "alice", "watch", "RequestReceived", None))?;
        let mark = mark(&log)?;
        let mut file = fs::OpenOptions::new().append(true).open(&log)?;
        write!(file, "{}", line("1", "alice", "watch", "ResponseComplete", Some(200)))?;
        write!(file, "{}", line("2", "alice", "get", "RequestReceived", None))?;
        write!(file, "{{\"auditID\": \"3\", \"user\": {{\"username\": \"alice")?;
        let found = requests(&log, mark, "alice")?;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].verb, "get");
        Ok(())
    }

    #[test]
    fn a_mark_within_a_line_skips_the_rest_of_that_line() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("audit.log");
        let first = line("1", "alice", "get", "RequestReceived", None);
        let half = first.len() / 2;
        fs::write(&log, &first[..half])?;
        let mark = mark(&log)?;
        assert!(requests(&log, mark, "alice")?.is_empty());
        let second = line("2", "alice", "patch", "RequestReceived", None);
        fs::write(&log, first.clone() + &second)?;
        let mut seen = Vec::new();
        let end = visit(&log, mark, "alice", |request| seen.push(request.verb))?;
        assert_eq!(seen, ["patch"]);
        assert_eq!(end, AuditMark((first.len() + second.len()) as u64));
        Ok(())
    }

    #[test]
    fn a_visitor_sees_each_request_once_and_resumes_where_it_ended() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("audit.log");
        let whole = [
            line("1", "alice", "get", "RequestReceived", None),
            line("2", "bob", "list", "RequestReceived", None),
            line("1", "alice", "get", "ResponseComplete", Some(200)),
        ];
        fs::write(&log, format!("{}{{\"auditID\": \"3\"", whole.concat()))?;
        let mut seen = Vec::new();
        let end = visit(&log, AuditMark::default(), "alice", |request| seen.push(request.verb))?;
        fs::write(&log, [&whole[..], &[line("3", "alice", "patch", "RequestReceived", None)]].concat().concat())?;
        visit(&log, end, "alice", |request| seen.push(request.verb))?;
        assert_eq!(seen, ["get", "patch"]);
        Ok(())
    }
}
