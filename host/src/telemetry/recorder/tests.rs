use std::os::unix::fs::PermissionsExt as _;

use bartizan_contract::{Failure, Kind};
use bartizan_runtime::Fault;
use serde_json::json;

use super::*;

fn parent(annotations: &Value) -> Observed {
    let object = json!({
        "apiVersion": "test.bartizan.dev/v1alpha1", "kind": "Script",
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "1", "annotations": annotations},
    });
    Observed::project(object, "bartizan/scripted").unwrap()
}

fn answer(response: &[u8]) -> Result<Answer, CallError> {
    Ok(Answer { response: response.to_vec(), logs: Vec::new() })
}

fn call<'a>(
    parent: &'a Observed,
    request: &str,
    result: &'a Result<Answer, CallError>,
    limits: &'a Limits,
) -> Call<'a> {
    Call {
        provider: "scripted",
        module: "sha256:00",
        limits,
        parent,
        request: request.as_bytes().to_vec(),
        result: result.as_ref(),
    }
}

/// The files in a parent's folder, by name.
fn files(folder: &Path) -> Vec<(String, String)> {
    let read = |entry: io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
    };
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(read).collect();
    files.sort();
    files
}

#[test]
fn request_and_response_keep_their_bytes() {
    let (parent, limits) = (parent(&json!({})), Limits::default());
    // A number that no float holds, keys out of order and twice, an escape that nobody writes, spaces.
    let text = "{\"b\":1e400, \"a\": 18446744073709551616.10,\"a\":\"\\u0041\\/\"}";
    for (response, kept_as_json) in [(text.as_bytes(), true), (b" {}\n", false), (b"no json", false), (b"\xff", false)]
    {
        let result = answer(response);
        let recording = call(&parent, text, &result, &limits).recording().unwrap();
        let file = serde_json::to_vec_pretty(&recording).unwrap();
        let read: Recording = serde_json::from_slice(&file).unwrap();
        assert_eq!(read.request.get(), text);
        assert_eq!(read.digest, sha256_hex(text.as_bytes()));
        assert_eq!(Limits::from(read.limits), limits);
        match kept_as_json {
            true => assert_eq!(read.response.unwrap().get().as_bytes(), response),
            false => assert_eq!(BASE64_STANDARD.decode(read.response_base64.unwrap()).unwrap(), response),
        }
    }
}

#[test]
fn a_failure_is_recorded_with_the_reason_of_its_condition() {
    let (parent, limits) = (parent(&json!({})), Limits::default());
    let failure = Failure {
        code: "invalid".to_owned().into(),
        message: "must be four".to_owned(),
        field: Some("spec.nodes".to_owned()),
        retry_after_seconds: None,
    };
    let result = Err(CallError { fault: Fault::Failure(failure), logs: Vec::new() });
    let recording = call(&parent, "{}", &result, &limits).recording().unwrap();
    let expected = Failed { reason: "ProviderFailed".to_owned(), message: "spec.nodes: must be four".to_owned() };
    assert_eq!((recording.failure, recording.response.is_none()), (Some(expected), true));
}

#[tokio::test]
async fn the_last_calls_of_a_parent_are_kept_in_order_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Recorder::new(folder.path().join("kept"), 3, false);
    let (parent, limits, result) = (parent(&json!({})), Limits::default(), answer(b"{}"));
    assert!(recorder.keeps(&parent));
    for number in 0..5 {
        recorder.keep(call(&parent, &format!("{{\"call\":{number}}}"), &result, &limits));
    }
    recorder.place.clone().unwrap().write_waiting();
    let place = folder.path().join("kept/scripted/Script/n_p");
    let kept = files(&place);
    let names: Vec<&str> = kept.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["00000003.json", "00000004.json", "00000005.json"]);
    for (number, (_, text)) in kept.iter().enumerate() {
        assert!(text.contains(&format!("{{\"call\":{}}}", number + 2)), "{text}");
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&place), mode(&place.join("00000005.json"))), (0o700, 0o600));
}

#[tokio::test]
async fn only_annotated_parents_are_recorded_if_the_flag_is_set() {
    let recorder = Recorder::new(PathBuf::from("unused"), 3, true);
    assert!(recorder.keeps(&parent(&json!({RECORD_ANNOTATION: "true"}))));
    assert!(!recorder.keeps(&parent(&json!({RECORD_ANNOTATION: "false"}))));
    assert!(!recorder.keeps(&parent(&json!({}))));
    assert!(!Recorder::default().keeps(&parent(&json!({RECORD_ANNOTATION: "true"}))), "there is no place for them");
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let recorder = Recorder::new(file, 3, false);
    let (parent, limits, result) = (parent(&json!({})), Limits::default(), answer(b"{}"));
    recorder.keep(call(&parent, "{}", &result, &limits));
    let place = recorder.place.clone().unwrap();
    place.write_waiting();
    assert!(lock(&place.writing).failed && lock(&place.waiting).files.is_empty());
}

#[test]
fn a_folder_that_cannot_be_created_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let args = |record| RecordArgs { record, record_last: 20, record_annotated: false };
    let inside = file.join("recordings");
    let message = format!("--record {}: Not a directory (os error 20)", inside.display());
    assert_eq!(format!("{:#}", args(Some(inside)).open().unwrap_err()), message);
    assert!(args(None).open().unwrap().place.is_none());
    assert!(args(Some(folder.path().join("a/b"))).open().unwrap().place.is_some());
}

#[test]
fn names_of_any_length_give_valid_names_of_folders() {
    let place = Recorder::new(PathBuf::from("d"), 3, false).place.unwrap();
    let kind = Kind::new("g", "v1", "ClusterScript");
    assert_eq!(place.folder_of("w", &ObjectKey::new(&kind, None, "x")), Path::new("d/w/ClusterScript/_x"));
    let long = |last: char| format!("{}{last}", "n".repeat(252));
    let [one, two] =
        ['a', 'b'].map(|last| place.folder_of("w", &ObjectKey::new(&kind, Some(&"s".repeat(63)), &long(last))));
    assert!(one != two && one.file_name().unwrap().len() <= 255);
}
