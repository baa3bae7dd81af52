//! Recordings: request and answer of a provider, one file per call, so that `bartizan replay` can repeat the call elsewhere. Requests
//! contain tokens instead of secret values; a provider that sees plain values must not be recorded.

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use bartizan_contract::digest::sha256_hex;
use bartizan_contract::names::{API_VERSION, RECORD_ANNOTATION};
use bartizan_engine::{ObjectKey, Observed};
use bartizan_runtime::{Answer, CallError, Limits};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::{debug, warn};

use crate::telemetry::timestamp;

/// `kind` of a recording.
pub(crate) const KIND: &str = "Recording";
/// Most bytes of recordings that wait to be written; further ones are dropped.
const MOST_WAITING: usize = 64 * 1024 * 1024;
/// Longest name of a parent's folder: file systems take 255 bytes.
const LONGEST_NAME: usize = 200;

/// Flags of recordings.
#[derive(Debug, clap::Args)]
pub(crate) struct RecordArgs {
    /// Folder for recordings of requests and answers, with tokens instead of secrets; see `bartizan replay`. Default: none.
    #[arg(long, value_name = "DIR", env = "BARTIZAN_RECORD")]
    pub(crate) record: Option<PathBuf>,
    /// Recordings to keep of each parent.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..), requires = "record")]
    pub(crate) record_last: u32,
    /// Record only parents with the annotation bartizan.dev/record: "true".
    #[arg(long, requires = "record")]
    pub(crate) record_annotated: bool,
}

impl RecordArgs {
    /// Creates the folder.
    ///
    /// # Errors
    /// If it cannot be created.
    pub(crate) fn open(&self) -> anyhow::Result<Recorder> {
        let Some(folder) = &self.record else { return Ok(Recorder::default()) };
        make_folder(folder).with_context(|| format!("--record {}", folder.display()))?;
        let last = usize::try_from(self.record_last).unwrap_or(usize::MAX);
        Ok(Recorder::new(folder.clone(), last, self.record_annotated))
    }
}

/// The recording of one call. JSON is kept as raw text, so that a replay uses the same bytes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recording {
    /// `provider.bartizan.dev/v1alpha1`.
    pub(crate) api_version: String,
    /// `Recording`.
    pub(crate) kind: String,
    /// Name of the provider.
    pub(crate) provider: String,
    /// The parent: `ObjectStore.minio.rook.io rook-minio/my-store`.
    pub(crate) parent: String,
    /// Time of the call, RFC 3339.
    pub(crate) time: String,
    /// Digest of its module.
    pub(crate) module: String,
    /// Limits of the call.
    pub(crate) limits: CallLimits,
    /// SHA-256 of the request, of which `bartizan explain` shows the beginning.
    pub(crate) digest: String,
    /// The request.
    pub(crate) request: Box<RawValue>,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) response: Option<Box<RawValue>>,
    /// The answer, if it is not JSON.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) response_base64: Option<String>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) failure: Option<Failed>,
}

/// Why a provider did not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    /// The reason, as in conditions: `ProviderCrashed`.
    pub(crate) reason: String,
    /// The message.
    pub(crate) message: String,
}

impl From<&CallError> for Failed {
    fn from(error: &CallError) -> Self {
        Self { reason: error.fault.reason().to_string(), message: error.to_string() }
    }
}

/// The limits of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallLimits {
    timeout_milliseconds: u64,
    memory_bytes: usize,
    request_bytes: usize,
    response_bytes: usize,
}

impl From<&Limits> for CallLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            timeout_milliseconds: u64::try_from(limits.timeout.as_millis()).unwrap_or(u64::MAX),
            memory_bytes: limits.memory_bytes,
            request_bytes: limits.request_bytes,
            response_bytes: limits.response_bytes,
        }
    }
}

impl From<CallLimits> for Limits {
    fn from(limits: CallLimits) -> Self {
        Self {
            timeout: Duration::from_millis(limits.timeout_milliseconds),
            memory_bytes: limits.memory_bytes,
            request_bytes: limits.request_bytes,
            response_bytes: limits.response_bytes,
            ..Self::default()
        }
    }
}

/// A call that was made.
pub(crate) struct Call<'a> {
    /// Name of the provider.
    pub(crate) provider: &'a str,
    /// Digest of its module.
    pub(crate) module: &'a str,
    /// Its limits.
    pub(crate) limits: &'a Limits,
    /// The parent.
    pub(crate) parent: &'a Observed,
    /// The request.
    pub(crate) request: Vec<u8>,
    /// The result.
    pub(crate) result: Result<&'a Answer, &'a CallError>,
}

impl Call<'_> {
    fn recording(self) -> Result<Recording, String> {
        let digest = sha256_hex(&self.request);
        let text = String::from_utf8(self.request).map_err(|error| error.to_string())?;
        let request = RawValue::from_string(text).map_err(|error| error.to_string())?;
        let mut recording = Recording {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            provider: self.provider.to_owned(),
            parent: self.parent.key.title(),
            time: timestamp::now(),
            module: self.module.to_owned(),
            limits: self.limits.into(),
            digest,
            request,
            response: None,
            response_base64: None,
            failure: None,
        };
        match self.result {
            Ok(answer) => match json_as_it_is(&answer.response) {
                Some(response) => recording.response = Some(response),
                None => recording.response_base64 = Some(BASE64_STANDARD.encode(&answer.response)),
            },
            Err(error) => recording.failure = Some(error.into()),
        }
        Ok(recording)
    }
}

/// The bytes as raw JSON, if they survive being written and read as such.
fn json_as_it_is(bytes: &[u8]) -> Option<Box<RawValue>> {
    let text = String::from_utf8(bytes.to_vec()).ok()?;
    RawValue::from_string(text).ok().filter(|raw| raw.get().len() == bytes.len())
}

/// Writes recordings, or none at all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    place: Option<Arc<Place>>,
}

#[derive(Debug)]
struct Place {
    folder: PathBuf,
    last: usize,
    only_annotated: bool,
    waiting: Mutex<Waiting>,
    /// Held while files are written, so that those of a parent are numbered in the order of its calls.
    writing: Mutex<Writing>,
}

/// Recordings that are not on disk yet.
#[derive(Debug, Default)]
struct Waiting {
    files: VecDeque<WaitingFile>,
    bytes: usize,
}

#[derive(Debug)]
struct WaitingFile {
    folder: PathBuf,
    content: Vec<u8>,
}

#[derive(Debug, Default)]
struct Writing {
    /// Whether the last one failed: a full disk is logged once.
    failed: bool,
}

impl Recorder {
    fn new(folder: PathBuf, last: usize, only_annotated: bool) -> Self {
        let (waiting, writing) = (Mutex::default(), Mutex::default());
        Self { place: Some(Arc::new(Place { folder, last, only_annotated, waiting, writing })) }
    }

    /// Whether calls for this parent are recorded.
    pub(crate) fn keeps(&self, parent: &Observed) -> bool {
        self.place.as_ref().is_some_and(|place| !place.only_annotated || is_annotated(parent))
    }

    /// Records a call. Returns at once, without waiting for the disk.
    pub(crate) fn keep(&self, call: Call<'_>) {
        let Some(place) = self.place.clone() else { return };
        let (provider, parent) = (call.provider.to_owned(), call.parent.key.clone());
        let folder = place.folder_of(&provider, &parent);
        let file = call.recording().and_then(|it| serde_json::to_vec_pretty(&it).map_err(|error| error.to_string()));
        let queued = file.and_then(|file| place.queue(folder, file));
        match queued {
            Ok(()) => {
                tokio::task::spawn_blocking(move || place.write_waiting());
            }
            Err(reason) => {
                let (kind, namespace, name) = parent.parts();
                warn!(provider, kind, namespace, name, "a call was not recorded: {reason}");
            }
        }
    }
}

fn is_annotated(parent: &Observed) -> bool {
    let value = parent.value();
    let annotations = value.pointer("/metadata/annotations");
    annotations.and_then(|all| all.get(RECORD_ANNOTATION)).and_then(Value::as_str) == Some("true")
}

impl Place {
    /// `DIR/<provider>/<kind>/<namespace>_<name>`: a namespace never contains an underscore, and is empty for cluster-scoped parents.
    fn folder_of(&self, provider: &str, parent: &ObjectKey) -> PathBuf {
        let mut name = format!("{}_{}", parent.namespace.as_deref().unwrap_or_default(), parent.name);
        if name.len() > LONGEST_NAME {
            // Names are ASCII; the digest distinguishes names with the same beginning.
            let digest = sha256_hex(name.as_bytes());
            name = format!("{}-{}", name.get(..LONGEST_NAME).unwrap_or_default(), digest.get(..16).unwrap_or_default());
        }
        self.folder.join(provider).join(&*parent.kind).join(name)
    }

    fn queue(&self, folder: PathBuf, content: Vec<u8>) -> Result<(), String> {
        let mut waiting = lock(&self.waiting);
        if waiting.bytes + content.len() > MOST_WAITING {
            return Err(format!("the disk of --record {} is too slow", self.folder.display()));
        }
        waiting.bytes += content.len();
        waiting.files.push_back(WaitingFile { folder, content });
        Ok(())
    }

    fn write_waiting(&self) {
        let mut writing = lock(&self.writing);
        while let Some(WaitingFile { folder, content }) = self.next() {
            match write(&folder, &content, self.last) {
                Ok(()) => writing.failed = false,
                Err(error) if writing.failed => debug!("a call was not recorded in {}: {error}", folder.display()),
                Err(error) => {
                    writing.failed = true;
                    warn!("calls are not recorded in {}: {error}", folder.display());
                }
            }
        }
    }

    fn next(&self) -> Option<WaitingFile> {
        let mut waiting = lock(&self.waiting);
        let next = waiting.files.pop_front()?;
        waiting.bytes -= next.content.len();
        Some(next)
    }
}

/// Writes the next file of a parent, and removes the oldest ones beyond `last`. The file is renamed into place when it is complete.
fn write(folder: &Path, content: &[u8], last: usize) -> io::Result<()> {
    make_folder(folder)?;
    let mut known = numbers(folder)?;
    let number = known.last().map_or(1, |number| number + 1);
    let beside = folder.join(".writing");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    out.write_all(content)?;
    fs::rename(&beside, file_of(folder, number))?;
    known.push(number);
    for old in known.iter().take(known.len().saturating_sub(last)) {
        fs::remove_file(file_of(folder, *old))?;
    }
    Ok(())
}

fn file_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.json"))
}

/// The numbers of a parent's recordings, in order.
fn numbers(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_suffix(".json")).and_then(|stem| stem.parse::<u64>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic leaves a valid queue of files.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
