//! Where the bytes of an upload come from, and whether they can be read again.
//!
//! A retry needs the same bytes once more. Bytes in memory and files have them; of a pipe the first `REPLAY_BYTES` are kept, which covers
//! what is sent to a node before it says that another one leads.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};

use crate::error::{Error, Kind};
use crate::{CHUNK_BYTES, INLINE_VALUE_BYTES};

const REPLAY_BYTES: usize = 4 * 1024 * 1024;

/// A value to store.
pub enum Source {
    Bytes(Bytes),
    File(PathBuf),
    /// Read once, to its end; the text names it in messages.
    Pipe(String, Box<dyn AsyncRead + Send + Unpin>),
}

/// A value about to be sent.
pub(crate) enum Opened {
    Inline(Bytes),
    Large(Reader),
}

/// Chunks of a value larger than 64 KiB, again and again where possible.
pub(crate) struct Reader {
    name: String,
    /// Bytes in all, where known beforehand.
    pub size: Option<u64>,
    input: Input,
    /// Bytes handed out since the last rewind.
    position: u64,
}

enum Input {
    Bytes(Bytes),
    File(File),
    Pipe(Pipe),
}

struct Pipe {
    pipe: Box<dyn AsyncRead + Send + Unpin>,
    /// The first chunks, for a retry.
    kept: Vec<Bytes>,
    kept_bytes: usize,
    /// Of `kept`, the one to hand out next.
    next: usize,
    /// Bytes went by that are not kept.
    overflown: bool,
    /// Read, not yet a whole chunk. Here and not in the future that reads, because an answer of the node may end that future at any moment.
    partial: BytesMut,
}

impl Source {
    /// Reads as far as it takes to know which way the value goes.
    pub(crate) async fn open(self) -> Result<Opened, Error> {
        match self {
            Source::Bytes(bytes) if bytes.len() <= INLINE_VALUE_BYTES => Ok(Opened::Inline(bytes)),
            Source::Bytes(bytes) => Ok(Opened::Large(Reader::new("the value", Some(bytes.len() as u64), Input::Bytes(bytes)))),
            Source::File(path) => open_file(&path).await,
            Source::Pipe(name, pipe) => open_pipe(name, pipe).await,
        }
    }
}

impl Reader {
    fn new(name: impl Into<String>, size: Option<u64>, input: Input) -> Reader {
        Reader { name: name.into(), size, input, position: 0 }
    }

    /// The next chunk, at most [`CHUNK_BYTES`]; None at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let read = match &mut self.input {
            Input::Bytes(all) => {
                let rest = all.slice(self.position as usize..);
                Ok(rest.slice(..rest.len().min(CHUNK_BYTES)))
            }
            Input::File(file) => fill(file, CHUNK_BYTES).await,
            Input::Pipe(pipe) => pipe.next().await,
        };
        let chunk = read.map_err(|error| Error::file(format!("cannot read {}", self.name), error))?;
        self.position += chunk.len() as u64;
        self.check_size(chunk.is_empty())?;
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    /// Starts again at the first byte; false if that byte is gone.
    pub async fn rewind(&mut self) -> Result<bool, Error> {
        self.position = 0;
        match &mut self.input {
            Input::Bytes(_) => Ok(true),
            Input::File(file) => {
                let sought = file.rewind().await;
                sought.map(|_| true).map_err(|error| Error::file(format!("cannot read {} again", self.name), error))
            }
            Input::Pipe(pipe) => {
                pipe.next = 0;
                Ok(!pipe.overflown)
            }
        }
    }

    /// A file that grows or shrinks while it is read would be stored in a state it never had.
    fn check_size(&self, at_end: bool) -> Result<(), Error> {
        let Some(size) = self.size else { return Ok(()) };
        if self.position > size || at_end && self.position < size {
            let message = format!("{} changed while it was read", self.name);
            return Err(Error::new(Kind::File, message, "upload it when nobody writes to it"));
        }
        Ok(())
    }
}

impl Pipe {
    async fn next(&mut self) -> std::io::Result<Bytes> {
        if let Some(chunk) = self.kept.get(self.next) {
            self.next += 1;
            return Ok(chunk.clone());
        }
        while self.partial.len() < CHUNK_BYTES {
            let mut rest = (&mut self.pipe).take((CHUNK_BYTES - self.partial.len()) as u64);
            if rest.read_buf(&mut self.partial).await? == 0 {
                break;
            }
        }
        let chunk = std::mem::take(&mut self.partial).freeze();
        if self.overflown || self.kept_bytes + chunk.len() > REPLAY_BYTES {
            self.overflown |= !chunk.is_empty();
        } else if !chunk.is_empty() {
            self.kept_bytes += chunk.len();
            self.kept.push(chunk.clone());
            self.next += 1;
        }
        Ok(chunk)
    }
}

async fn open_file(path: &Path) -> Result<Opened, Error> {
    let name = path.display().to_string();
    let failed = |error| Error::file(format!("cannot read {name}"), error);
    let mut file = File::open(path).await.map_err(failed)?;
    let meta = file.metadata().await.map_err(failed)?;
    if meta.is_dir() {
        return Err(Error::new(Kind::File, format!("cannot read {name}: it is a directory"), "name a file"));
    }
    if !meta.is_file() {
        return open_pipe(name, Box::new(file)).await;
    }
    // What the file says of its size counts for nothing in /proc and /sys: there it is 0, and the bytes come all the same.
    let start = fill(&mut file, INLINE_VALUE_BYTES + 1).await.map_err(failed)?;
    if start.len() <= INLINE_VALUE_BYTES {
        return Ok(Opened::Inline(start));
    }
    file.rewind().await.map_err(failed)?;
    let size = Some(meta.len()).filter(|size| *size > 0);
    Ok(Opened::Large(Reader::new(name, size, Input::File(file))))
}

async fn open_pipe(name: String, mut pipe: Box<dyn AsyncRead + Send + Unpin>) -> Result<Opened, Error> {
    let start = fill(&mut pipe, INLINE_VALUE_BYTES + 1).await.map_err(|error| Error::file(format!("cannot read {name}"), error))?;
    if start.len() <= INLINE_VALUE_BYTES {
        return Ok(Opened::Inline(start));
    }
    let kept_bytes = start.len();
    let pipe = Pipe { pipe, kept: vec![start], kept_bytes, next: 0, overflown: false, partial: BytesMut::new() };
    Ok(Opened::Large(Reader::new(name, None, Input::Pipe(pipe))))
}

/// Reads until `limit` bytes are there or the end is reached.
async fn fill(input: &mut (impl AsyncRead + Unpin), limit: usize) -> std::io::Result<Bytes> {
    let mut buffer = BytesMut::with_capacity(limit);
    let mut input = input.take(limit as u64);
    while input.read_buf(&mut buffer).await? > 0 {}
    Ok(buffer.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe(len: usize) -> Source {
        Source::Pipe("stdin".into(), Box::new(std::io::Cursor::new(vec![7; len])))
    }

    async fn large(source: Source) -> Reader {
        match source.open().await.unwrap() {
            Opened::Large(reader) => reader,
            Opened::Inline(bytes) => panic!("{} bytes are inline", bytes.len()),
        }
    }

    async fn drain(reader: &mut Reader) -> usize {
        let mut total = 0;
        while let Some(chunk) = reader.next().await.unwrap() {
            assert!(chunk.len() <= CHUNK_BYTES);
            total += chunk.len();
        }
        total
    }

    #[tokio::test]
    async fn sixty_four_kib_go_inline_one_byte_more_does_not() {
        for len in [0, 1, INLINE_VALUE_BYTES] {
            let Opened::Inline(bytes) = pipe(len).open().await.unwrap() else { panic!("{len} bytes are large") };
            assert_eq!(bytes.len(), len);
        }
        let len = INLINE_VALUE_BYTES + 1;
        assert_eq!(drain(&mut large(pipe(len)).await).await, len);
        assert_eq!(drain(&mut large(Source::Bytes(vec![1; len].into())).await).await, len);
    }

    #[tokio::test]
    async fn a_pipe_can_be_read_again_until_it_has_given_too_much() {
        let mut small = large(pipe(1_000_000)).await;
        for _ in 0..3 {
            assert_eq!(drain(&mut small).await, 1_000_000);
            assert!(small.rewind().await.unwrap());
        }
        let mut big = large(pipe(REPLAY_BYTES + CHUNK_BYTES + 1)).await;
        big.next().await.unwrap();
        assert!(big.rewind().await.unwrap());
        assert_eq!(drain(&mut big).await, REPLAY_BYTES + CHUNK_BYTES + 1);
        assert!(!big.rewind().await.unwrap());
    }

    #[tokio::test]
    async fn a_read_cut_short_loses_no_byte() {
        let (mut far, near) = tokio::io::duplex(64);
        let feeding = tokio::spawn(async move {
            for n in 0..200_000_u32 {
                tokio::io::AsyncWriteExt::write_all(&mut far, &[n as u8]).await.unwrap();
            }
        });
        let mut reader = large(Source::Pipe("stdin".into(), Box::new(near))).await;
        let mut received = Vec::new();
        loop {
            // Polls the read a few times, then drops it, as an answer that arrives meanwhile does.
            let cut = tokio::time::timeout(std::time::Duration::from_micros(300), reader.next()).await;
            match cut {
                Err(_) => continue,
                Ok(chunk) => match chunk.unwrap() {
                    Some(chunk) => received.extend_from_slice(&chunk),
                    None => break,
                },
            }
        }
        feeding.await.unwrap();
        assert_eq!(received.len(), 200_000);
        assert!(received.iter().enumerate().all(|(n, byte)| *byte == n as u8));
    }

    #[tokio::test]
    async fn a_file_that_grows_meanwhile_is_refused() {
        let path = std::env::temp_dir().join(format!("rusty-kv-grows-{}", std::process::id()));
        std::fs::write(&path, vec![1; 100_000]).unwrap();
        let mut reader = large(Source::File(path.clone())).await;
        assert_eq!(drain(&mut reader).await, 100_000);
        assert!(reader.rewind().await.unwrap());
        std::fs::write(&path, vec![1; 100_001]).unwrap();
        assert_eq!(reader.next().await.unwrap_err().kind, Kind::File);
        std::fs::remove_file(&path).unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_a_local_error() {
        let Err(error) = Source::File("/nowhere/at/all".into()).open().await else { panic!("it is there") };
        assert_eq!(error.kind, Kind::File);
        assert!(error.message.contains("/nowhere/at/all"));
        let Err(error) = Source::File("/".into()).open().await else { panic!("it is a file") };
        assert!(error.message.contains("directory"));
    }
}
