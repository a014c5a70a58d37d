//! Where downloaded bytes go.
//!
//! A file appears under its name only when it is whole: temporary file beside it, verified, synced, renamed, directory synced. What is not a
//! regular file (`/dev/null`, a named pipe) is written to as it is. A stream has no way back: it ends early or with a hash that
//! is wrong, and the caller says so.

use std::path::{Path, PathBuf};

use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWrite, AsyncWriteExt};

use crate::backoff::random;
use crate::error::{Error, Kind};

/// An output that takes a value's bytes in order.
pub struct Sink<'a> {
    name: String,
    output: Output<'a>,
    written: bool,
}

enum Output<'a> {
    File(Temporary),
    Stream(Box<dyn AsyncWrite + Send + Unpin + 'a>),
}

/// Removed when dropped, unless renamed.
struct Temporary {
    file: File,
    path: PathBuf,
    destination: PathBuf,
    renamed: bool,
}

impl<'a> Sink<'a> {
    /// A file; its directory must exist. An existing file is replaced at the end, through symbolic links.
    pub async fn file(path: &Path) -> Result<Sink<'static>, Error> {
        let name = path.display().to_string();
        let failed = |error| Error::file(format!("cannot write {name}"), error);
        let existing = tokio::fs::metadata(path).await.ok();
        if existing.as_ref().is_some_and(|meta| meta.is_dir()) {
            return Err(Error::new(Kind::File, format!("cannot write {name}: it is a directory"), "name a file in it"));
        }
        let output = match existing {
            Some(meta) if !meta.is_file() => {
                let stream = File::options().write(true).open(path).await.map_err(failed)?;
                Output::Stream(Box::new(stream))
            }
            Some(_) => Output::File(Temporary::beside(tokio::fs::canonicalize(path).await.map_err(failed)?).await.map_err(failed)?),
            None => Output::File(Temporary::beside(path.to_path_buf()).await.map_err(failed)?),
        };
        Ok(Sink { name, output, written: false })
    }

    /// A stream, for instance stdout; `name` is for messages.
    pub fn stream(name: &str, stream: impl AsyncWrite + Send + Unpin + 'a) -> Sink<'a> {
        Sink { name: name.into(), output: Output::Stream(Box::new(stream)), written: false }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.written |= !bytes.is_empty();
        let result = match &mut self.output {
            Output::File(temporary) => temporary.file.write_all(bytes).await,
            Output::Stream(stream) => stream.write_all(bytes).await,
        };
        result.map_err(|error| self.failed(error))
    }

    /// Starts again at the first byte; false if bytes are gone for good.
    pub(crate) async fn rewind(&mut self) -> Result<bool, Error> {
        let result = match &mut self.output {
            Output::Stream(_) => return Ok(!self.written),
            Output::File(temporary) => match temporary.file.rewind().await {
                Ok(_) => temporary.file.set_len(0).await,
                Err(error) => Err(error),
            },
        };
        result.map(|()| true).map_err(|error| self.failed(error))
    }

    /// All bytes are written and verified: makes them durable, then visible.
    pub(crate) async fn commit(&mut self) -> Result<(), Error> {
        let result = match &mut self.output {
            Output::File(temporary) => temporary.commit().await,
            Output::Stream(stream) => stream.flush().await,
        };
        result.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: std::io::Error) -> Error {
        Error::file(format!("cannot write {}", self.name), error)
    }
}

impl Temporary {
    async fn beside(destination: PathBuf) -> std::io::Result<Temporary> {
        let name = destination.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
        // The random part comes first and the name is cut: a name of the greatest length has room for nothing behind it.
        let name: String = name.to_string_lossy().chars().take(32).collect();
        let path = destination.with_file_name(format!(".{:08x}-{name}.part", random()));
        let file = File::options().write(true).create_new(true).open(&path).await?;
        Ok(Temporary { file, path, destination, renamed: false })
    }

    async fn commit(&mut self) -> std::io::Result<()> {
        self.file.flush().await?;
        self.file.sync_all().await?;
        tokio::fs::rename(&self.path, &self.destination).await?;
        self.renamed = true;
        let directory = self.destination.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory).await?.sync_all().await
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            let _best_effort = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("rusty-kv-sink-{name}-{}", std::process::id()));
        let _absent = std::fs::remove_dir_all(&dir);
        std::fs::create_dir(&dir).unwrap();
        dir
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_file_appears_only_when_it_is_whole() {
        let dir = directory("whole");
        let path = dir.join("photo");
        let mut sink = Sink::file(&path).await.unwrap();
        sink.write(b"wrong start").await.unwrap();
        assert!(!path.exists());
        assert!(sink.rewind().await.unwrap());
        sink.write(b"image").await.unwrap();
        sink.commit().await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"image");
        assert_eq!(names(&dir), ["photo"]);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn what_was_there_stays_until_then_and_nothing_is_left_behind() {
        let dir = directory("stays");
        let path = dir.join("photo");
        std::fs::write(&path, "old").unwrap();
        let mut sink = Sink::file(&path).await.unwrap();
        sink.write(b"new").await.unwrap();
        drop(sink);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(names(&dir), ["photo"]);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn a_link_stays_a_link_and_a_name_of_full_length_works() {
        let dir = directory("links");
        let (long, link) = (dir.join("n".repeat(255)), dir.join("link"));
        std::fs::write(&long, "old").unwrap();
        std::os::unix::fs::symlink(&long, &link).unwrap();
        let mut sink = Sink::file(&link).await.unwrap();
        sink.write(b"new").await.unwrap();
        sink.commit().await.unwrap();
        assert!(link.is_symlink());
        assert_eq!(std::fs::read(&long).unwrap(), b"new");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[tokio::test]
    async fn a_device_is_written_to_and_stays_a_device() {
        let mut sink = Sink::file(Path::new("/dev/null")).await.unwrap();
        sink.write(b"gone").await.unwrap();
        sink.commit().await.unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
        assert!(!sink.rewind().await.unwrap());
    }

    #[tokio::test]
    async fn a_missing_directory_is_a_local_error() {
        let Err(error) = Sink::file(Path::new("/nowhere/at/all")).await else { panic!("it is there") };
        assert_eq!(error.kind, Kind::File);
    }
}
