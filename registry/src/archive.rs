//! One tar file with artefacts in it, in the form that other tools read, too: an OCI image layout (image-spec, "Image Layout").

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use bartizan_contract::digest::{digest_of, digits};
use serde_json::json;

use crate::manifest::{self, Descriptor, Index};

/// Annotation of an entry with what it is called: registry, repository and tag.
const NAME: &str = "org.opencontainers.image.ref.name";
const LAYOUT: &str = "oci-layout";
const INDEX: &str = "index.json";
const BLOBS: &str = "blobs/sha256/";
/// Largest blob: what is copied is in memory, one at a time.
pub(crate) const BLOB_BYTES: usize = 1 << 30;
/// Largest index.
const INDEX_BYTES: u64 = 4 << 20;

/// Writes an archive.
pub struct ArchiveWriter {
    tar: tar::Builder<BufWriter<File>>,
    entries: Vec<Descriptor>,
    blobs: BTreeSet<String>,
}

impl ArchiveWriter {
    /// Begins one.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn create(file: &Path) -> io::Result<Self> {
        let mut tar = tar::Builder::new(BufWriter::new(File::create(file)?));
        append(&mut tar, LAYOUT, json!({"imageLayoutVersion": "1.0.0"}).to_string().as_bytes())?;
        Ok(Self { tar, entries: Vec::new(), blobs: BTreeSet::new() })
    }

    /// Whether it holds this blob already.
    pub(crate) fn has(&self, digest: &str) -> bool {
        self.blobs.contains(digest)
    }

    /// Adds a blob, once.
    pub(crate) fn add_blob(&mut self, digest: &str, bytes: &[u8]) -> io::Result<()> {
        if self.has(digest) {
            return Ok(());
        }
        let digits = digits(digest).ok_or_else(|| io::Error::other(format!("{digest} is not SHA-256")))?;
        append(&mut self.tar, &format!("{BLOBS}{digits}"), bytes)?;
        self.blobs.insert(digest.to_owned());
        Ok(())
    }

    /// Adds a manifest, whose blobs are there, under a name of its own.
    pub(crate) fn add_manifest(&mut self, manifest: &[u8], media_type: &str, name: String) -> io::Result<()> {
        let digest = digest_of(manifest);
        self.add_blob(&digest, manifest)?;
        let annotations = BTreeMap::from([(NAME.to_owned(), name)]);
        let size = u64::try_from(manifest.len()).unwrap_or(u64::MAX);
        let entry = Descriptor { media_type: media_type.to_owned(), digest, size, artifact_type: None, annotations };
        if !self.entries.contains(&entry) {
            self.entries.push(entry);
        }
        Ok(())
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// If that fails.
    pub fn finish(mut self) -> io::Result<()> {
        let index = json!({
            "schemaVersion": 2, "mediaType": manifest::INDEX, "manifests": self.entries,
        });
        append(&mut self.tar, INDEX, index.to_string().as_bytes())?;
        let mut file = self.tar.into_inner()?;
        file.flush()?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

/// With nothing of this machine or time: the same content gives the same file.
fn append(tar: &mut tar::Builder<BufWriter<File>>, path: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    header.set_mode(0o644);
    header.set_mtime(0);
    tar.append_data(&mut header, path, bytes)
}

/// Reads an archive. Its blobs stay in the file until they are asked for.
pub struct ArchiveReader {
    file: File,
    blobs: BTreeMap<String, (u64, u64)>,
    entries: Vec<Descriptor>,
}

impl ArchiveReader {
    /// Reads where everything is.
    ///
    /// # Errors
    /// If it is no such archive.
    pub fn open(file: &Path) -> io::Result<Self> {
        let file = File::open(file)?;
        let mut archive = tar::Archive::new(&file);
        let (mut blobs, mut index, mut is_layout) = (BTreeMap::new(), None, false);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            match path.as_str() {
                LAYOUT => is_layout = true,
                INDEX => {
                    let mut text = Vec::new();
                    if entry.size() > INDEX_BYTES {
                        return Err(io::Error::other(format!("{INDEX} has more than {INDEX_BYTES} bytes")));
                    }
                    entry.by_ref().read_to_end(&mut text)?;
                    index = Some(text);
                }
                path => {
                    if let Some(digits) = path.strip_prefix(BLOBS) {
                        blobs.insert(format!("sha256:{digits}"), (entry.raw_file_position(), entry.size()));
                    }
                }
            }
        }
        let index = index.filter(|_| is_layout).ok_or_else(|| io::Error::other("it is no OCI image layout"))?;
        let Index { manifests } =
            serde_json::from_slice(&index).map_err(|error| io::Error::other(format!("{INDEX}: {error}")))?;
        Ok(Self { file, blobs, entries: manifests })
    }

    /// What is in it under a name of its own.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Descriptor)> {
        self.entries.iter().filter_map(|entry| Some((entry.annotations.get(NAME)?.as_str(), entry)))
    }

    /// A blob, whose digest is checked.
    pub(crate) fn blob(&self, digest: &str) -> io::Result<Vec<u8>> {
        let found = self.blobs.get(digest).ok_or_else(|| io::Error::other(format!("{digest} is not in it")))?;
        let (position, size) = *found;
        if usize::try_from(size).map_or(true, |size| size > BLOB_BYTES) {
            return Err(io::Error::other(format!("{digest} has {size} bytes, more than {BLOB_BYTES}")));
        }
        let mut file = &self.file;
        file.seek(SeekFrom::Start(position))?;
        let mut bytes = Vec::new();
        file.take(size).read_to_end(&mut bytes)?;
        let actual = digest_of(&bytes);
        if actual != digest {
            return Err(io::Error::other(format!("{digest} is damaged: its content is {actual}")));
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_a_changed_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let write = |path: &Path| {
            let mut writer = ArchiveWriter::create(path).unwrap();
            writer.add_blob(&digest_of(b"one"), b"one").unwrap();
            writer.add_blob(&digest_of(b"one"), b"one").unwrap();
            assert!(writer.has(&digest_of(b"one")) && !writer.has(&digest_of(b"two")));
            writer.add_manifest(b"{}", "m", "example.com/a:1".to_owned()).unwrap();
            assert!(writer.add_blob("sha512:00", b"").is_err());
            writer.finish().unwrap();
        };
        write(&path);
        let archive = ArchiveReader::open(&path).unwrap();
        let named: Vec<_> = archive.named().map(|(name, entry)| (name.to_owned(), entry.digest.clone())).collect();
        assert_eq!(named, [("example.com/a:1".to_owned(), digest_of(b"{}"))]);
        assert_eq!(archive.blob(&digest_of(b"one")).unwrap(), b"one");
        assert!(archive.blob(&digest_of(b"two")).is_err());
        let again = folder.path().join("b.tar");
        write(&again);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes, std::fs::read(&again).unwrap(), "the same content gives the same file");

        let at = bytes.windows(3).position(|three| three == b"one").unwrap();
        let mut changed = bytes.clone();
        changed[at] = b'O';
        std::fs::write(&path, changed).unwrap();
        let error = ArchiveReader::open(&path).unwrap().blob(&digest_of(b"one")).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{error}");
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(ArchiveReader::open(&path).is_err(), "half of it");
        std::fs::write(&path, "text").unwrap();
        assert!(ArchiveReader::open(&path).is_err(), "no archive");
    }
}
